"""What came: a ``request`` and who sent it, the ``paths`` that clients write, ``bodies`` and
``queries`` as they are read, the ``tags`` that a request gives its call, the ``sessions`` that it
belongs to. ``door`` is what is different for clients of another protocol.
"""
