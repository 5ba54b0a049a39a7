"""Every policy that was in force, in the ledger's own store.

``base`` is the port: what is kept of a policy, and of how it came into force. ``tables`` has the
tables, ``sql_policies`` the SQL, which stores of every kind share; ``memory`` is the store of a
gateway that keeps nothing.
"""
