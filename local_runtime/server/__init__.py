"""An app's own HTTP server, a process by itself: ``python -m local_runtime APP``.

``serve`` is the process, ``routes`` its paths. ``http_server`` is what it has in common with the
gateway's server: ``http_protocol`` is a connection, ``request_cycle`` a request and its answer,
``http_head`` and ``flow_control`` parts of them. ``dispatcher`` asks the workers through
``local_runtime.client``; ``fast_path`` does so for plain calls with less work; ``responses``
writes the answers. ``background_jobs`` keeps the calls that nobody waits for; ``metrics`` counts,
``refusals`` is what a failed call is told.
"""
