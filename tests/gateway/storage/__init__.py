"""One suite for every shared store (``conftest`` opens each kind), and a random machine over them.

``claims`` are short words for what is asked. ``redis/`` and ``sqlite/`` test what one store alone
has.
"""
