"""Files and batches, over a real server, by genuine clients and our own command."""
