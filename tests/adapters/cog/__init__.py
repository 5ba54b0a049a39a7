"""``kind: cog``, before Cog's own server around a ``model`` of the tests."""
