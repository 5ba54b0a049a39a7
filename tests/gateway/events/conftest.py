"""Ledgers of both kinds, with what belongs to them."""

from tests.gateway.storage.books import open_books
from tests.gateway.storage.conftest import postgres_session

__all__ = ["open_books", "postgres_session"]
