"""Tests of the whole tree. A folder mirrors each package, module by module; the rest is across.

``adapters/``, ``gateway/``, ``local_runtime/``, ``examples/``, ``benchmarks/`` and ``scripts/``
stand beside what they test. ``e2e/`` runs whole gateways as a user does, ``bootstrap/`` a fresh
clone, ``house/`` the rules that hold for every file. ``programs/`` are apps and processes that
tests start. Shared by many: ``live`` (a gateway as a process), ``redis_server``,
``webhook_receiver``, ``waiting`` (for what has a time of its own), ``snippets`` (blocks of the
documents, which ``test_docs`` runs).
"""
