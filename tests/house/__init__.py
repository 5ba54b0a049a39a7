"""The rules of the house that a machine can keep, over every tracked file.

``test_sizes``, ``test_folders``, ``test_names``, ``test_imports``, ``test_files`` and
``test_mentions``: what each forbids stands in its tests' names. ``tree`` lists and parses the
files once; ``mentions`` finds what documents, docstrings and comments refer to. CONTRIBUTING.md
tells the rules to people.
"""
