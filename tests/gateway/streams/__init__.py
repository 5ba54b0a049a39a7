"""Streams that have names."""
