"""The ledger and the keys in SQLite: group commit, full disks, killed processes, reports.

``ledger_rows`` makes rows, and ledgers that close themselves.
"""
