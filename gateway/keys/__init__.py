"""What keys may do, beside what they may spend.

``permitted`` binds a key to models, paths and addresses; ``limited`` says whether anything limits
what it may spend; ``delegation`` says which keys a team's delegate may make; ``last_uses``
remembers when each was used last; ``audit`` reads the log of what administrators did, and
``signals`` adds to it what signals made the gateway do.
"""
