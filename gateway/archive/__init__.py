"""Old rows leave the ledger for files, a day a file; their sums by hour and day stay.

``archivist`` goes on with that while the gateway runs, in small steps; ``day_files`` writes a file
aside, gives it its name once it is whole, and reads it back; ``csv_form`` and ``parquet_form`` are
the two forms of a file.
"""
