"""Runtime apps that the benchmarks serve."""
