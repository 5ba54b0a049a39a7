"""The gateway as a process among others: its log, its files, its descriptors, its start.

Nobody reads its log, what it is told to serve cannot be served, files are renewed under it,
descriptors run out.
"""
