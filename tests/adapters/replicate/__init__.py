"""``kind: replicate``: a scripted ``platform``, and a small ``cloud`` that Replicate's own client
believes.

``client`` is that client in a process of its own, ``bucket`` an object store for large inputs.
"""
