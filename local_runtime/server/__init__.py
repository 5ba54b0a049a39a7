"""An app's own HTTP server, a process by itself: ``python -m local_runtime APP``.

``serve`` is the process, which ``reloading`` starts anew while the app is written, ``routes`` its
paths; ``local_runtime.http`` is the HTTP below it.
``dispatcher`` asks the workers through
``local_runtime.client``; ``fast_path`` does so for plain calls with less work; ``responses``
writes the answers. ``background_jobs`` keeps the calls that nobody waits for; ``metrics`` counts,
``refusals`` is what a failed call is told; ``documents`` says what the app takes and gives.
"""
