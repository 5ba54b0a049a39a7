"""Stored files: inputs and results that are too large to travel inside of a request.

``contents`` is the port of their bytes, which lie in a ``folder`` or in a ``bucket``; ``files`` are
they with what is known of each, taken in, read, and swept away when their time is over; ``opening``
opens what a policy names; ``names`` has the words of their ids and links, ``inputs`` puts them
where an input names them.
"""
