"""One call from its admission to its settlement.

``dispatcher`` admits it, walks from backend to backend, and returns an answer; ``stream`` is one
that comes in pieces and ends its call itself. ``state`` is what is known of a call on its way;
``completion`` ends it, each way once. ``refusals`` says why no backend takes it, ``rerouting``
calls a waiting call away to a better backend, ``top_up`` keeps its hold ahead of its run,
``first_token`` bounds how long a stream may bring nothing, ``stream_events`` are the events that
the gateway adds to a stream.
"""
