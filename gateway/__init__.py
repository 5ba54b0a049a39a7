"""The HTTPS service: keys, limits, budgets, routing, the ledger.

A call comes in through ``api``, is carried by ``calls`` from its admission to its settlement, is
sent where ``routing`` decides, to one of the ``backends``; ``money`` says what it costs and who
may spend it, ``storage`` keeps it. ``warm`` pays for warmth between the calls. ``policy`` reads
the YAML that says all this, ``tls`` makes certificates, ``cli`` is the command line. ``app`` puts
everything together; ``service`` is what is running then, ``restore`` what a start does about the
past.
"""
