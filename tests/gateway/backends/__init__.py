"""Backends as they run: slots and their line, what is learned, keys that are not passed on."""
