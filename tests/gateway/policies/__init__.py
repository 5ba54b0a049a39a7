"""Policies that were in force: by files, by administrators, by others who share the ledger."""
