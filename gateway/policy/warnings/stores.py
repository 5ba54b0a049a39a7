"""Rows and counters that are lost, or that others may read."""

from __future__ import annotations

from gateway.policy.model import Policy
from gateway.policy.warnings.places import Found
from gateway.store_urls import Database

_NOTICEABLE_S = 0.1


def stores_in_doubt(policy: Policy) -> Found:
    """Of every kind, one after the other."""
    yield from _databases(policy)
    yield from _kept_rows(policy)
    yield from _when_lost(policy)


def _databases(policy: Policy) -> Found:
    """Rows that pass a network in the clear, and counters that several gateways do not share."""
    store = policy.store
    for name, place in (("ledger", store.ledger), ("keys", store.keys)):
        if isinstance(place, Database) and place.sslmode in ("disable", "allow", "prefer"):
            far = [host for host, _ in place.hosts if not _is_near(host)]
            if far:
                yield (
                    f"store.{name}",
                    f"what passes to {', '.join(far)} may be read on the way: "
                    "sslmode=verify-full with sslrootcert, or sslmode=require",
                )
    if isinstance(store.ledger, Database) and store.shared is None:
        yield (
            "store.ledger",
            "memory:// of store.shared is each gateway's own: where several share the ledger, each "
            "allows every limit whole; give them a redis://",
        )


def _kept_rows(policy: Policy) -> Found:
    """Rows that are lost, or that leave before others have what they are to be told of."""
    keep, webhooks = policy.store.keep, policy.webhooks
    if keep is None:
        return
    if keep.archive is None:
        yield (
            "store.keep",
            "rows are deleted when they are old enough, and no file has them: name a folder in "
            "store.keep.archive",
        )
    elif isinstance(policy.store.ledger, Database):
        yield (
            "store.keep.archive",
            "whichever of the gateways that share the ledger moves a day writes its file here: let "
            "all see one folder by this path, or the days lie on several machines, and one that "
            "breaks off waits for the machine that began it",
        )
    if webhooks.endpoints and webhooks.keep > keep.rows:
        yield (
            "store.keep.rows",
            "is shorter than webhooks.keep: an endpoint that is disabled for longer is not told of "
            "the rows that have left the ledger meanwhile",
        )


def _when_lost(policy: Policy) -> Found:
    """Answers to a question that nobody asks, and budgets that nobody counts."""
    store, answers = policy.store, policy.store.answers
    if store.when_lost == "closed":
        return
    if store.shared is None:
        yield "store.when_lost", "without effect: memory:// is never lost"
        return
    open_scopes = [scope for scope, answer in answers.named.items() if answer == "open"]
    open_scopes += ["rest"] if answers.rest == "open" else []
    if open_scopes:
        yield (
            "store.when_lost",
            f"while the shared store is lost, limits of {', '.join(open_scopes)} hold nobody back, "
            "those of money neither; share gives each gateway its part of them",
        )
    if store.timeout_s > _NOTICEABLE_S and {*answers.named.values(), answers.rest} != {"closed"}:
        yield (
            "store.timeout",
            f"calls that go on without the shared store wait {store.timeout_s:g} s for it first; "
            "left out it is 20ms",
        )


def _is_near(host: str) -> bool:
    return host.startswith(("/", "127.")) or host in ("localhost", "::1")
