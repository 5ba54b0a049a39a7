"""Durable jobs in the ledger's own store.

``states`` is the machine that a job's state is; ``base`` is the port: what is kept of a job, and
what may be done with it. ``tables`` has the tables, ``statements`` the SQL, which stores of every
kind share, and ``sql_jobs`` the values around that.
"""
