"""Other platforms' own clients, unchanged but for their base URL and key."""
