"""What is kept: the counters that admit calls, the ledger, the keys.

``base`` has the ports of the shared store and the ledger, ``key_store`` that of the keys. The
shared store admits a call in all its limits and budgets at once or not at all, so that gateways
together never pass one: ``memory`` is that of one process, ``served/`` that of several on one
machine, ``redis/`` that of several gateways, of which more is asked by ``remote``; ``counters``,
``rolling`` and ``counter_set`` are the arithmetic of limits, ``claims`` is all that one call
claims. ``history`` is what a row keeps of its call's way, ``rows`` a row as values for a table.
``queries`` is what reports ask and are told, ``reports`` the same in SQL, over rows; ``rollups/``
are sums by time, of which large reports are made, ``durations`` how long calls took, and
``calendar`` has days and hours of time zones; ``spent`` is what a ledger knows of the counters,
``row_archive`` how old rows leave it. ``audit`` is the port of the log of administrative acts;
``key_records`` is what is known of a key, ``client_tokens`` how many of those are kept, ``owner``
says which process's open rows are whose. ``outbox`` is the port of what waits to be sent by
webhook: ``outbox_statements`` is its SQL, ``sql_outbox`` the values around that. ``sqlite/`` has
the ledger and the keys of one machine, ``postgres/`` those of several. ``jobs/`` are durable jobs
in the ledger's own store, ``files/`` what is known there of stored files, ``batches/`` many jobs of
one file, ``schedules/`` how far those have come that begin jobs by the clock, ``streams/`` answers
to streams that have names, ``responses/`` what callers may go on from,
``rented/`` who looks after rented machines, ``policies/`` those that
were in force. ``outage/`` is what holds while a shared store is lost. ``small_files`` are SQLite
files of one subject, such as who has signed in.
"""
