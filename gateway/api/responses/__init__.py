"""The pages of responses that callers may go on from.

``pages`` takes a request, and tells and deletes what is kept; ``recording`` keeps an answer on its
way to its caller.
"""
