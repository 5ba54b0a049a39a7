"""Backends that are reached through a proxy, or ask for a certificate."""
