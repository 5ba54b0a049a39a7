"""``serve`` runs the gateway as a ``server``, ``serve_together`` several; ``data_lock`` keeps
a second one from its data folder, ``listener`` has its connections, and ``banner`` tells a newcomer
how to call it."""
