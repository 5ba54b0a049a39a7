"""The benchmarks' own arithmetic, accounting and stand-ins. No test asserts a time."""
