"""The policy: from YAML to frozen values, or to every problem that keeps it from being one.

``model`` is what a policy says, ``reader`` reads one. Below the reader, in the order of the work:
``documents`` merges files, ``nodes`` is a tree that knows its lines, ``schema`` walks it by the
``shapes`` of the settings, with ``scalars`` for limits, money and hours; ``reading`` is what was
found so far, ``problems`` and ``warnings`` are what is said of it. ``matching`` says which route a
call takes; ``json_schema`` makes the schema for editors.
"""
