"""Programs that answer with a status of 300 and more."""
