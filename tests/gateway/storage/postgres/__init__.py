"""What PostgreSQL alone can do to a ledger and to keys."""
