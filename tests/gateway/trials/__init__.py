"""A second policy beside the one in force."""
