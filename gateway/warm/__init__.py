"""The warm pool: backends that are kept warm between calls.

``plan`` decides whom to wake now, within the ``hours`` of the week; both are pure. ``keeper`` is
the loop that pings and writes the cost down, ``prober`` the one that asks how backends are.
"""
