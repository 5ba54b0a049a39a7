"""Stores of responses that callers may go on from."""
