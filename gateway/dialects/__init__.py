"""Calls in the words in which they came, to backends that know others.

``asking`` asks a backend for a call, in its own words; ``shown_names`` writes into an answer the
name by which its caller called the model.
"""
