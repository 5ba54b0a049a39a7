"""Genuine clients, and the protocols that they speak, through a whole gateway."""
