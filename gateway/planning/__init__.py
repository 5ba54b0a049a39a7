"""How much capacity a model needs in the next seconds and the next hour. Pure: values in, values
out; an instant is an argument.

``overdue`` counts the calls that are past their promise, ``growth`` learns how far they may grow
within a start's time, ``starts`` says how long starts take, and ``worth`` what a call that comes
late may cost. From these the ``planner`` says, at every look, how many workers to hold and to
start; ``baseline`` how many are worth an hour's rent, by the ``shares`` of time in which so many
were wanted and the ``outlook`` on the next hour; ``feedback`` whether promises are kept as often as
they should be. ``line`` says which of the waiting calls is next, here and in the gateway.
``kept_free`` says how many slots the lines of batches leave to calls, ``minimum`` is what a
platform is told of all that. ``coming`` are calls of which the instant is known.
"""
