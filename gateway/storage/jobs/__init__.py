"""Durable jobs in the ledger's own store.

``states`` is the machine that a job's state is; ``base`` is the port: what is kept of a job, and
what may be done with it. ``tables`` has the tables; ``statements`` and, of who may work on it,
``leases`` have the SQL, which stores of every kind share, with the ``words`` of both; ``sql_jobs``
has the values around that.
"""
