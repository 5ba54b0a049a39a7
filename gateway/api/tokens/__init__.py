"""The pages of client tokens.

``pages`` makes, lists and revokes them, each for the key that asks.
"""
