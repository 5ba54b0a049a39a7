"""The ledger and the keys, in SQLite files.

``ledger`` is the ledger; ``writer`` commits its rows in groups, on a thread, and is where a full
disk or a locked file is met; ``rows`` are its two tables, ``journals`` keeps the logs of one file
from another that takes its place, ``dialect`` is how it writes SQL,
``rollups`` makes its reports and what they are made of, in its ``rollup_tables``, ``four_weeks``
coarser sums of what is long over, in the ``transactions`` of who writes beside; ``usage`` its
lists of rows; ``readers`` runs them in lanes, so that a large one holds up no small one, and
``free_memory`` gives back what they took. ``keys``
finds keys by their hash, in the memory that is ``known_keys``, and follows the file that is
``key_file``;
``audit_table`` is the log of administrative acts in it, ``token_table`` says which keys are client
tokens.
``outbox`` runs what the outbox asks for in the ledger's file, which has its ``outbox_tables``.
"""
