"""Frames in any split of bytes, two versions of one protocol, sockets behind a token."""
