"""Other platforms' protocols over a gateway's own jobs."""
