"""A newcomer's first five minutes: a fresh clone, ``make serve``, what it prints pasted. Slow."""
