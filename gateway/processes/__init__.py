"""Several processes that serve one port on one machine, and the parent that they have in common.

The ``parent`` starts them, starts anew what dies, and replaces all at a rolling restart; each is to
it a ``spawned`` process. It holds what they share: the listening sockets, made in ``ports``, of
which ``turns`` says who takes the next connection, the shared store where no Redis is, and the
local workers, whose ``hosts`` it has; ``bounds`` parts among them what bounds the calls at a
backend. The policy that they serve is a copy in
``snapshots``, after ``loading`` has read it and ``unshared`` has said what takes a single process.
``affairs`` are what all have in common: each tells the parent, and it the others. ``rounds`` are
the questions that go to all, of which what they count is kept in ``counted``; ``uses`` are their
calls at backends, and ``leaders`` is which of them does what one alone must do.
``child`` is the other end: the parent, as a serving process knows it, ``parts`` what that process
has of what is common, ``all_processes`` those beside it, and ``trials_of_all`` the policy that is
tried in each. ``messages`` is what crosses
between the two, ``told`` what a process is told when it is started.
"""
