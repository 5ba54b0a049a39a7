"""Client tokens, from the request for one to its end."""
