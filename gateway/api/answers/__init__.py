"""How a request is answered: ``relay`` sends the answer to the client's socket, whole or as it
comes, with the ``headers`` that say how it was decided and what it cost, and ``progress`` while it
waits; ``job_answers`` is what a call is answered with that becomes a job, ``kept_streams`` a stream
that its caller has named; ``refused`` logs the requests for which no backend was asked.
"""
