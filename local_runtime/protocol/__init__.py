"""What crosses between processes; nothing here belongs to one side.

``events`` is every message between caller, worker and supervisor, ``scale_events`` those for
workers that come and go; ``wire`` frames them, ``corked`` sends writes together, ``sockets``
listens and dials, behind a token between machines; ``shared_memory`` is how large bodies go
between processes of one machine, and ``passing`` how its descriptor comes to the other end.
"""
