"""What came: a ``request`` and who sent it, its ``bodies`` as they are read, the ``tags`` that it
gives its call.
"""
