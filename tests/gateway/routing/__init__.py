"""The decision and what it reads, as values: router, forecast, health, gaps, volume, prices."""
