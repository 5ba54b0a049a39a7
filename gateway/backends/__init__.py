"""The backends of the active policy while they run.

``live`` is one backend with what was learned of it, ``slots`` the line of calls that wait for a
place at one, ``redaction`` keeps its secrets out of answers.
"""
