"""Who is told of what happened: addresses, attempts, the sender, budgets."""
