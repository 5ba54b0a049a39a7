"""Who may do what, and did: ``keys`` makes, lists, revokes and rotates; ``audit`` is what
administrators did."""
