"""Calls in other words than those of their backends."""
