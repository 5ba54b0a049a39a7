"""The stand-alone runtime beside others of its kind: ``python -m benchmarks.runtime``."""
