"""The backends of the active policy while they run.

``live`` is one backend with what was learned of it: its leases, its health, its times. ``slots`` is
how many calls run at one at once, and the line of those that wait. ``redaction`` keeps a backend's
secrets out of answers that repeat them.
"""
