"""The backends of the active policy while they run.

``live`` is one backend; ``leases`` are the calls that have a place at it, ``rests`` its health and
when it is left alone; ``learned`` is what its calls have taught: run times, starts, warm workers.
``slots`` is how many calls run at one at once, and the line of those that wait. ``redaction`` keeps
a backend's secrets out of answers that repeat them.
"""
