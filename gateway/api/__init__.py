"""The HTTP surface: the only rooms where HTTP becomes the domain, and the domain HTTP.

``middleware`` stands around all routes (request id, headers, key) and makes the ``request``
context; ``routes`` lists every path. ``calls`` turns a request into a call for ``openai`` and
``infer``, ``relay`` sends the answer to the client's socket. ``explain``, ``usage``, ``admin``,
``probes`` and ``openapi`` are the other pages.
"""
