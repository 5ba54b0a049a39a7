"""Every policy that was in force, and who changes it: the files, an administrator, or whoever
shares the ledger.

``changes`` puts another policy in force and keeps that it is, ``followed`` as one of several
processes does; ``last_files`` is what the files said last, ``earlier`` says to which policy a
roll-back returns, ``differences`` what sets two policies apart, ``told`` how a change is told.
"""
