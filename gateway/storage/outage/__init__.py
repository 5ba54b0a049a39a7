"""A shared store that may be lost for a while, and what holds meanwhile.

``store`` is the shared store that calls see: it asks the remote one while that answers. Once it
does not, ``answers`` says of each scope whether its calls are refused, let through, or given a
share, which ``shares`` counts in this process: of what ``recent`` remembers that budgets had left,
beside the calls in ``holds`` that run already. ``missed`` collects what happens, and the remote
store is told all of it in one step when it is back; ``tally`` is what ``/metrics`` tells.
``writers`` waits, in one thread for all, for whoever writes to a store's file.
"""
