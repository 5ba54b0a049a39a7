"""``kind: modal``: Modal's own SDK against a ``platform`` on the base class of its own server."""
