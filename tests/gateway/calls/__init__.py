"""One call from its admission to its settlement, cancelled at each of its suspensions too."""
