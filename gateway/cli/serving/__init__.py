"""``serve`` runs the gateway as a ``server``, ``serve_together`` several; ``data_lock`` keeps
a second one from its data folder, ``serving_lock`` a restore, ``listener`` has its connections,
``crowd`` who of them makes way where descriptors run short, by ``shares``; ``local_socket`` those
of the gateway's own user, ``banner`` tells a newcomer where it is and ``first_call`` how to call
it, and ``when_ready`` that models have loaded; ``arenas`` is where its memory comes from."""
