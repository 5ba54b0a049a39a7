"""What a policy names, opened: ``stores`` are those of counters, rows, keys and what waits to be
sent. Beside ``app`` the one room that knows concrete ones.
"""
