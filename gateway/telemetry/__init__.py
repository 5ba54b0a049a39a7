"""What a gateway tells of itself where a policy asks for it: OpenTelemetry, and metrics at an
address of their own.

``started`` is that for one gateway, and all that others need to know; nothing else here is imported
by a gateway that is not asked. ``trace_context`` is what callers say of their trace and what
backends are told, ``spans`` one request's trace while it is under way, ``names`` what attributes
are called; ``calls`` are the dispatcher and its parts, each of which says how long it took, and
``middleware`` stands around all routes. ``otlp`` alone knows OpenTelemetry's own packages: it sends
spans, and ``metric_points`` what ``/metrics`` shows in their form. ``scrape_port`` is the address
of their own.
"""
