"""What keys a delegate may make, list, rotate and revoke: those of its team, with no more rights
than its own has. Pure.

Its team are the keys that carry all of its tags.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterable

import msgspec

from gateway.keys.permitted import Network
from gateway.policy.model import Policy, When
from gateway.storage.key_records import KeyRecord
from gateway.types import ApiError, Limit, Permitted, Principal

_ALL = Permitted()


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """What a delegate's request may do: within its own key's rights, and no longer than that."""

    by: Principal
    ends_at: float | None
    """When the key that asks will end."""

    def manages(self, other: Principal) -> bool:
        """Whether a key is one of the team's users', which it may list and revoke."""
        return other.role == "user" and carries(other.tags, self.by.tags)

    def limits(self, policy: Policy, user: str) -> tuple[Limit, ...]:
        """Those of the delegate's key, by itself and by name in the policy, and those that the
        policy gives its user alone, which hold for no other ``user``."""
        named = policy.limits
        of_key = named.keys.get(self.by.key_id)
        of_user = None if user == self.by.user else named.users.get(self.by.user)
        own = (limits.flat() for limits in (of_key, of_user) if limits is not None)
        return (*self.by.limits, *itertools.chain.from_iterable(own))

    def check(
        self,
        asked: Principal,
        expires_at: float | None,
        policy: Policy,
        records: Iterable[KeyRecord],
    ) -> None:
        """Raises ApiError 403, naming the field, for a key that would have a right that the
        delegate's has not. ``records`` are all keys that there are."""
        self._check_whose(asked, policy, records)
        if asked.plan != self.by.plan:
            own = f"the plan {self.by.plan!r}" if self.by.plan else "no plan"
            raise _beyond(f"your own has {own}, and so have they", "plan")
        for limit in self.limits(policy, asked.user):
            if not any(_as_tight(limit, other) for other in asked.limits):
                own = f"your own has {limit.amount} {limit.unit} {limit.window}".rstrip()
                raise _beyond(f"{own}, and none of them more", "limits")
        _check_permitted(asked.permitted or _ALL, self.by.permitted or _ALL)
        if self.ends_at is not None and (expires_at is None or expires_at > self.ends_at):
            raise _beyond("none of them lasts longer than your own", "expires_in")

    def _check_whose(self, asked: Principal, policy: Policy, records: Iterable[KeyRecord]) -> None:
        if asked.role != "user":
            raise _beyond(
                "all of them are users'", "admin" if asked.role == "admin" else "delegate"
            )
        if not carries(asked.tags, self.by.tags):
            tags = ", ".join(f"{name}={value}" for name, value in self.by.tags.items())
            raise _beyond(f"all of them have the tags of your own: {tags}", "tags")
        named = named_tags(policy) & asked.tags.keys() - self.by.tags.keys()
        if named:
            raise _beyond(f"the policy has rules for the tag {min(named)!r}", "tags")
        self._check_no_other_team(asked, records)
        if asked.user == self.by.user:
            return
        if asked.user in named_users(policy):
            raise _beyond(f"the policy has rules for the user {asked.user!r}", "user")
        # A user's keys see and spend what all keys of the user do.
        if any(
            record.principal.user == asked.user and not self.manages(record.principal)
            for record in records
        ):
            raise _beyond(f"the user {asked.user!r} has keys that are not your team's", "user")

    def _check_no_other_team(self, asked: Principal, records: Iterable[KeyRecord]) -> None:
        """Another delegate could revoke such a key, and its calls would be in that one's sums."""
        for record in records:
            other = record.principal
            if (
                other.role == "delegate"
                and record.revoked_at is None
                and carries(asked.tags, other.tags)
                and not carries(self.by.tags, other.tags)
            ):
                raise _beyond("its tags would make it another team's as well", "tags")


def carries(tags: dict[str, str], all_of: dict[str, str]) -> bool:
    """Whether a key with ``tags`` is one of the team of ``all_of``; nobody is of a team without
    tags."""
    return bool(all_of) and all_of.items() <= tags.items()


def named_tags(policy: Policy) -> set[str]:
    """The names of tags by which the policy decides."""
    routed = (name for when in _whens(policy) for name in when.tags or ())
    return {*routed, *policy.limits.tags}


def named_users(policy: Policy) -> set[str]:
    """The users for whom the policy has rules of their own."""
    found = set(policy.limits.users)
    for when in _whens(policy):
        found.update((when.user,) if isinstance(when.user, str) else when.user or ())
    return found


def _whens(policy: Policy) -> Iterable[When]:
    return (route.when for route in policy.routes)


def _as_tight(own: Limit, other: Limit) -> bool:
    return (other.unit, other.window) == (own.unit, own.window) and other.amount <= own.amount


def _check_permitted(asked: Permitted, own: Permitted) -> None:
    if own.models and not (asked.models and set(asked.models) <= set(own.models)):
        raise _beyond(f"your own is for the models {', '.join(own.models)}", "models")
    if own.paths and not _all_within(asked.paths, own.paths, _path_within):
        raise _beyond(f"your own is for the paths {', '.join(own.paths)}", "paths")
    if own.addresses and not _all_within(asked.addresses, own.addresses, _network_within):
        raise _beyond("your own may be used from fewer addresses", "addresses")


def _all_within(
    asked: Iterable[str], own: Iterable[str], is_within: Callable[[str, str], bool]
) -> bool:
    """Whether each of ``asked``, of which there is one at least, lies in one of ``own``."""
    each = [any(is_within(one, wider) for wider in own) for one in asked]
    return bool(each) and all(each)


def _path_within(path: str, wider: str) -> bool:
    return path == wider or (wider.endswith("*") and path.startswith(wider[:-1]))


def _network_within(text: str, wider: str) -> bool:
    one, other = _network(text), _network(wider)
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and one.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and one.subnet_of(other)


def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def _beyond(what: str, param: str) -> ApiError:
    return ApiError(
        403,
        "beyond_delegation",
        f"Your key is a delegate's: the keys that it makes have no right that it has not, and "
        f"{what}. An admin key can make others.",
        type="permission_error",
        param=param,
    )
