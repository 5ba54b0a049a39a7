"""Ledgers with their outboxes, of both kinds."""

from tests.gateway.storage.conftest import postgres_session
from tests.gateway.storage.outboxes import open_books

__all__ = ["open_books", "postgres_session"]
