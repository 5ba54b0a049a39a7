"""From YAML to single values, or to the line and column of what is wrong with them: whatever the
settings are.

``documents`` merges files, ``nodes`` is a tree that knows its lines, ``schema`` walks it by the
``shapes`` of the settings, with ``scalars`` for money and hours; ``field_docs`` is what the source
says of them; ``findings`` collects what one
reading has found so far, ``problems`` is one mistake with its place.
"""
