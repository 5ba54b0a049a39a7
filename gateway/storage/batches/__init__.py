"""Batches in the ledger's own store; their lines are jobs there.

``base`` is the port, ``tables`` has the tables, ``statements`` the SQL, which stores of every kind
share, and ``sql_batches`` the values around that.
"""
