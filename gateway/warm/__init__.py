"""The warm pool: backends that are woken before the rush, and kept warm between calls.

``plan`` decides whom to wake, ping or scale now, and is pure.
``keeper`` is the loop that does it, ``prober`` the one that asks how backends are. ``pings`` are
one each: what it costs, and what came of it. ``account`` holds and settles what the pool spends in
the limits of the whole gateway, ``spares`` the seconds in which spare workers wait. ``minimums`` is
what platforms were told to keep and takes it back; ``kept`` writes that down. ``idle_tails`` books
the seconds for which a platform keeps a worker after its last call, where these are billed.
``plans`` looks twice a second at the backends whose workers are planned by the calls that come:
``demand`` is what is seen of one, ``jobs_in_line`` the jobs that wait in the store, ``planned``
what follows from both, ``turns`` in which order and what one leaves to the next; ``lead`` says
which of several gateways may act on it. ``plan_reports`` tells a person of it, ``binding`` when
calls are bound to a backend.
"""
