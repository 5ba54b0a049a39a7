"""Hedging: a call whose backend is slow is asked of a second one as well; the first answer wins.

``answer_quantiles`` is how long backends take, ``rules`` when a second one may be asked, and which,
``hedges`` what was learned and counted; ``sides`` are the two attempts as a call's state has them,
of which it has one at a time; ``race`` is one call's way, and ``hedging`` the way in.
"""
