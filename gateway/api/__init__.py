"""The HTTP surface: the only folder where HTTP becomes a call, and an answer HTTP.

``middleware`` stands around all routes (request id, size of headers, a key that is unknown, revoked
or expired is refused) and makes the ``request`` context; ``routes`` lists every path: a new page
begins there. ``openai`` and ``infer`` are the surfaces for calls: ``call_requests`` turns a request
into a call and notices a client that hangs up at whatever point, upon which ``gateway.calls`` ends
and settles the call; ``bodies`` reads what they were sent; ``relay`` sends the answer to the
client's socket, whole or as it comes, with the ``headers`` that say how it was decided and what it
cost; ``request_tags`` are those that a request gives its call; ``refused`` logs the requests for
which no backend was asked. ``jobs`` are the pages of durable jobs, of which ``job_requests`` reads
what is asked; ``job_answers`` is what a call is answered with that becomes one. The other pages:
``explain`` (the decision without the call), ``me`` (what a key may use and has left), ``usage``
(who spent what), ``forecast`` (where that leads), ``admin`` (backends, policy; what it changes is
``audited``), ``keys`` (made, rotated and revoked by admins and delegates), ``webhooks`` (who is
told of what), ``probes`` (health, readiness, metrics), ``openapi`` (the description of it all).
"""
