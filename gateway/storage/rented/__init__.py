"""Instances that are rented by the hour, in the ledger's own store: each on a lease of the gateway
that looks after it.

``base`` is the port. ``tables`` has the table, ``sql_instances`` the SQL, which stores of every
kind share, and ``sqlite_instances`` who is dead on one machine; ``memory`` is the store of a
gateway that keeps nothing.
"""
