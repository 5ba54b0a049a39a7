"""Replays: recordings that are read, fleets that are simulated, and what is best at all."""
