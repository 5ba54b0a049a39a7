"""Starts, deaths, restarts, spares: records as values, loops over processes that are only
pretended.
"""
