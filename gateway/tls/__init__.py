"""Certificates: a local authority, made at the first start and renewed in time.

``context`` is what the server is given, ``authority`` issues certificates for the names
of ``hosts``, ``files`` keeps them,
``renewal`` takes a new one while connections are open.
"""
