"""A month that could have been, to look at in the console and to measure its pages over.

``python -m benchmarks.console FOLDER`` makes the month in a folder, with a policy that serves it;
``--rows`` says how many. ``month`` makes the rows, ``bills`` what platforms billed of
them, ``__main__`` is the command. ``pictures`` takes those of the documents anew.
"""
