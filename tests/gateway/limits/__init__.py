"""Whom limits hold for, in which units and windows, and what is told of them."""
