"""One call from its admission to its settlement.

``dispatcher`` admits it, walks from backend to backend, and returns an answer; ``state`` is what
is known of it on the way; ``completion`` ends it, each way once. ``refusals`` says why no backend
takes it, ``rerouting`` calls a waiting call away to a better backend, ``top_up`` keeps its hold
ahead of its run, ``background`` finishes what outlives its caller.
"""
