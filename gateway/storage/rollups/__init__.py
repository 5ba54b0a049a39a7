"""Sums of settled rows by time, kept beside them, of which large reports are made.

``cubes`` says which sums there are: for quarters of an hour, hours and days of UTC, by all
dimensions together and by some of them alone. ``adding`` adds rows to them, each once, whenever it
comes, at the time at which it began. ``four_weeks`` makes
coarser ones of those, of time that is over. ``stretches`` and ``cuts`` take the time of a report
apart into sums and what only rows tell; ``reading`` makes the report's statement of that,
``spending`` that of what limits count, and ``archived`` refuses reports of rows that are gone.
``first_form`` is how the sums were kept before, and how they become these.
"""
