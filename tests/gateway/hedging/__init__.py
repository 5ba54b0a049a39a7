"""Slow calls, of which a second backend is asked."""
