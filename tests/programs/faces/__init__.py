"""Apps written for other platforms, and a chat of words."""
