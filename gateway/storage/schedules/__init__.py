"""How far schedules have come, in the ledger's own store.

``base`` is the port, ``tables`` has the tables, ``statements`` the SQL, which stores of every kind
share, and ``sql_schedules`` the values around that.
"""
