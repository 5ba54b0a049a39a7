"""Conversations over real WebSockets: what passes, what it costs, and every way to end."""
