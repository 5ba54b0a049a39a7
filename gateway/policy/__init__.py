"""The policy: from YAML to frozen values, or to every problem that keeps it from being one.

``model`` is what a policy says, ``reader`` reads one. Below the reader, in the order of the work:
``documents`` merges files, ``nodes`` is a tree that knows its lines, ``reading`` walks it by the
``shapes`` that ``schema`` declares, with ``scalars`` for limits, money and hours; ``problems`` and
``warnings`` are what it finds. ``matching`` says which route a call takes; ``json_schema`` makes
the schema for editors.
"""
