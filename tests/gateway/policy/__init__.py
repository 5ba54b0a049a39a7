"""Policies: what is read, and what is said of what cannot be, word for word. ``kinds`` need no
platform.
"""
