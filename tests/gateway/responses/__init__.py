"""Responses that callers may go on from."""
