"""What administrators do: the ``endpoint`` of each route, ``backends``, and ``pings`` of one,
``policy``, ``trials`` of another one, ``keys`` (made, rotated and revoked by admins and delegates),
``schedules`` (what begins by the clock), ``webhooks`` (who is told of what). What any of it changes
is ``audited``.
"""
