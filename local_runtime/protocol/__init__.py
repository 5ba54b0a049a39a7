"""What crosses between processes; nothing here belongs to one side.

``events`` is every message between caller and worker, ``scale_events`` those between autoscaler
and supervisor; ``wire`` frames them, ``corked`` sends writes together, ``sockets`` listens and
dials, behind a token between machines.
"""
