"""Both kinds of ledgers, for the tests of this folder."""

from tests.gateway.archive.shelves import open_shelf as open_shelf
from tests.gateway.storage.conftest import postgres_session as postgres_session
