"""The work of one call, counted in bytecodes of Python: it does not move with the machine.

``memory`` is a loop whose connections are in memory, ``upstream`` the backend at their other end,
``plain_call`` a whole gateway on such a loop and one call after another through it. ``counting``
counts, and ``__main__`` compares with what was recorded.
"""
