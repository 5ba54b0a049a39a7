"""Sums kept beside rows: what is asked of them, and how they came to be."""
