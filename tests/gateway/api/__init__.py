"""The HTTP surface over the assembled gateway: shapes, rights, odd requests, the relay."""
