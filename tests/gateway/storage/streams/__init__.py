"""Stores of streams that have names."""
