"""Every policy that was in force, and who changes it: the files, an administrator, or whoever
shares the ledger.

``changes`` puts another policy in force and keeps that it is, ``followed`` as one of several
processes does; ``earlier`` says to which one a
roll-back returns, ``differences`` what sets two policies apart, ``told`` how a change is told.
"""
