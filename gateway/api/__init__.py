"""The HTTP surface: the only folder where HTTP becomes a call, and an answer HTTP.

``middleware`` stands around all routes (request id, size of headers, key) and makes the
``request`` context; ``routes`` lists every path. ``openai`` and ``infer`` are the surfaces for
calls: ``calls`` turns a request into a call and notices a client that hangs up, ``relay`` sends
the answer to the client's socket, whole or as it comes, with the ``headers`` that say how it was
decided and what it cost. The other pages: ``explain`` (the decision without the call), ``usage``
(who spent what), ``admin`` (keys, backends, policy), ``probes`` (health, readiness, metrics),
``openapi`` (the description of it all).
"""
