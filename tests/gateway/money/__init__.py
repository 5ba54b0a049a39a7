"""Limits, settlement, reports, reconciliation: exact sums, whatever fails in between."""
