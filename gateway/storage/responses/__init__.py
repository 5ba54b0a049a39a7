"""Responses that callers may go on from, in the ledger's own store, for as long as the policy says.

``base`` is the port; ``tables`` has the table, and ``sql_responses`` the SQL, which stores of every
kind share.
"""
