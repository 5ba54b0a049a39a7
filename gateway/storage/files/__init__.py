"""What is known of stored files, in the ledger's own store; their bytes lie elsewhere.

``base`` is the port, ``tables`` has the tables, ``statements`` the SQL, which stores of every kind
share, and ``sql_files`` the values around that.
"""
