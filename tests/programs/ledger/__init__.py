"""Writers of the ledger that are killed, or run out of disk, while they write."""
