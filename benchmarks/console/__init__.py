"""The console over a month that could have been: how long each page takes, and how large it is.

``python -m benchmarks.console FOLDER`` makes the month in a folder, with a policy that serves it;
``--rows`` says how many. ``month`` makes the rows, ``__main__`` is the command.
"""
