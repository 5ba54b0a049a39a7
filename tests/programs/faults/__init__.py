"""Upstream programs, one a fault: each answers a call with the bytes of its kind of trouble."""
