"""OpenAI's Files: the pages of ``/v1/files``.

``pages`` are the paths; ``uploads`` takes a file in as it comes, by the ``forms`` that clients
send; ``views`` is what callers are told of a file.
"""
