"""The guard of a plain call: what it counts, and what it lets pass."""
