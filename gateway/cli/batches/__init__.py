"""``spillgate batch``: files of calls. ``batch`` has the commands, ``connection`` asks the gateway
by a user's key; ``begun`` remembers what was begun for an input, ``results`` writes what came of
it, and ``bar`` draws how far it has come."""
