"""What the planner costs over recorded traffic: ``make bench-economics``.

``traces`` reads recordings, ``platforms`` are prices and starts of serverless platforms,
``replay`` runs a trace against a simulated fleet whose size the planner decides, ``report`` prints
the table. The recordings are not part of the project; without them a small one is made up.
"""
