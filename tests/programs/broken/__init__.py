"""Apps that fail in the one way that their name says."""
