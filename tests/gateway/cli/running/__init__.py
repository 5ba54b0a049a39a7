"""Commands before and beside a gateway."""
