"""The ledger and the keys, in SQLite files.

``ledger`` is the ledger; ``writer`` commits its rows in groups, on a thread; ``rows`` are its two
tables, ``usage`` is its reports as SQL, ``owner`` says whose open rows are whose. ``keys`` finds
keys by their hash.
"""
