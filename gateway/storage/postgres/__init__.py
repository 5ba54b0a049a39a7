"""The ledger and the keys in a PostgreSQL database, which several gateways share.

``connections`` makes connections and says in one line why one fails; ``migrations`` brings the
schema up to date. ``ledger`` is the ledger: ``rows`` are its statements, ``writer`` commits its
rows in groups by one task, ``rollups`` makes its reports and what they are made of, in its
``rollup_tables``, whenever ``rolling`` says so; ``heartbeats``
says which gateway's open rows are whose. ``keys`` finds keys by their hash, from memory;
``known_keys`` is what it knows of them, ``audit_table`` the log of administrative acts,
``token_table`` which keys are client tokens. ``outbox`` runs what the outbox asks for, in its
``outbox_tables``; ``group_commit`` lets writes share a transaction, and ``refusals``
says whose fault it is that one was refused.

Imported for a policy that names such a database alone: asyncpg is an extra.
"""
