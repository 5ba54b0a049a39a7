"""The HTTP surface: the only folder where HTTP becomes a call, and an answer HTTP.

``cors`` stands around everything where pages of browsers may call; ``middleware`` stands around all
routes (request id, size of headers, a key that is unknown, revoked or expired is refused) and makes
the context of a request; ``routes`` lists every path: a new page begins there, and
``routed_paths`` finds it; ``lifespan`` is how the application begins and ends. ``requests`` is what
came, ``answers`` is how it is answered; ``calls`` are the surfaces for calls, ``jobs`` the pages of
durable jobs, ``files`` those of stored files, ``batches`` those of batches, ``tokens`` those of
client tokens, ``responses`` those of responses that are kept, ``usage`` what was used, ``admin``
what administrators do. ``owner`` is who needs no key, by the gateway's Unix socket; ``probes`` are
health, readiness and metrics; ``openapi`` describes it all, with what ``described`` says of single
routes.
"""
