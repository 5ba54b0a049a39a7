"""What callers store, and what is run of it: files and batches of one gateway.

``serving`` puts them together, over the stores that they are given.
"""
