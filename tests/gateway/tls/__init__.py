"""Certificates made once, renewed in time, and served to clients who trust only the CA."""
