"""An app's own HTTP server: ``python -m local_runtime APP``.

``serve`` is the process, ``routes`` its paths, ``http_protocol`` its HTTP/1.1 (the gateway's too).
``dispatcher`` asks the workers, ``fast_path`` does so for plain calls with less work,
``responses`` writes the answers, ``background_jobs`` keeps those that nobody waits for;
``metrics`` counts, ``refusals`` says what a failed call is told.
"""
