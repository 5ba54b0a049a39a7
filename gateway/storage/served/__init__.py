"""The shared store of several processes on one machine, kept by one of them.

``messages`` is what crosses between the two, ``store`` the end of a process that asks, ``server``
the end of the one that keeps the store and knows whose hold is whose.
"""
