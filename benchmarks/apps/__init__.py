"""Apps of the runtime that are measured: ``trivial`` costs nothing, ``encoder`` is a model."""
