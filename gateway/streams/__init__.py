"""Streams that their callers have named: asked for once, told from their start to whoever sends the
same request again, at once or within a day.

``recording`` is an answer as it comes, in this process; ``keeping`` writes it into the store and
knows who has which name; ``stored`` reads one that another process has written.
"""
