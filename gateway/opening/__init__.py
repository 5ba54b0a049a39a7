"""What a policy names, opened: ``stores`` are those of counters, rows, keys and what waits to be
sent, ``last_files_on_disk`` is what the policy's files said last. Beside ``app`` the one room that
knows concrete ones.
"""
