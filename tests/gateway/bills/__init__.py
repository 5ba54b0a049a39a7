"""Platforms' bills beside the ledger: days, causes, files, corrections, and the watch."""
