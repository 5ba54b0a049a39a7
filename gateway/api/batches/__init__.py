"""OpenAI's Batches: the pages of ``/v1/batches``.

``pages`` are the paths, ``asked`` reads what is asked, and ``line_calls`` makes the call of a line,
as its own route would.
"""
