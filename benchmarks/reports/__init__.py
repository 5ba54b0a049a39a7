"""Reports of a large ledger: how long they take, and that they are those of the rows.

``rows`` makes the ledger, ``questions`` has what is asked of it, and says whether the answers are
those of the rows alone; ``measuring`` times a start, reports and the calls meanwhile, ``endings``
calls that end while counters are filled, and ``__main__`` is the command (``make bench-reports``).
"""
