"""What planned capacity costs over recorded traffic: ``make bench-economics``.

``recordings`` finds the public ones in a folder, which are not part of the project; without them
the made-up sample of ``examples`` is replayed. ``keep_alive`` measures learned idle times,
``decisions`` how long the planner and the router take, and ``report`` prints the tables.
"""
