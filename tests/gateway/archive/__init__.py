"""Old rows that leave the ledger for files."""
