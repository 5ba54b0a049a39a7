"""Backends as they run: slots and their line, what is learned of each, keys that are not passed on."""
