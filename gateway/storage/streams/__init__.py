"""Answers to streams that their callers have named, in the ledger's own store, for a day.

``base`` is the port; ``tables`` has the tables, ``statements`` the SQL, which stores of every kind
share, and ``sql_streams`` the values around that.
"""
