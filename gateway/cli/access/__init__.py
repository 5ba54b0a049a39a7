"""Who may do what, and did: ``keys`` makes, lists, revokes and rotates, with what each has
``spent``; ``audit`` is what administrators did."""
