"""A policy beside no gateway: ``check`` validates it, ``explain`` asks which backend a call would
get."""
