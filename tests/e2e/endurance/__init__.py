"""Rounds of what is hard on the books, on real processes and servers: a thousand calls at once on a
cap for a hundred, and SIGKILL under load. ``make endurance`` plays fifty of each, the suite two.
"""
