"""Apps of the runtime that the benchmarks serve: ``trivial`` costs nothing, ``encoder`` is a model."""
