"""The policy: from YAML to frozen values, or to every problem that keeps it from being one.

``model`` is what a policy says, ``reader`` reads one. Below the reader, in the order of the work:
``documents`` merges files, ``nodes`` is a tree that knows its lines, ``schema`` walks it by the
``shapes`` of the settings, with ``scalars`` for money and hours; ``findings`` collects
what one reading has found so far, ``problems`` is one mistake with its line and column,
``warnings`` what is said in vain. ``price`` is what a backend charges, ``price_section`` reads the
dates of several and of commitments, ``price_tables`` those that come with the gateway, as the files
of ``prices/``; ``commitments`` is what is paid for calls or none; ``keys`` says which may be made;
``limits`` is how much of what each scope may use, ``limit_section`` checks them together;
``store_section`` says where counters, rows and keys are, and for how long; ``reconcile`` says when
bills are asked for, ``webhooks`` who is told of what. ``matching`` says which route a call takes,
``hours`` when hours of the week are; ``tokens`` is what is held where a request does not show its
tokens; ``json_schema`` makes the schema for editors.
"""
