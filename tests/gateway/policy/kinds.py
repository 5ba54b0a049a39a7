"""Kinds of backends that need no platform: what a policy names, and nothing that runs."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from adapters.base import AdapterClass
from adapters.settings import Duration, SecretStr
from adapters.types import Capabilities
from gateway.policy.reader import Kinds


class HomeSettings(msgspec.Struct, frozen=True, kw_only=True):
    app: str
    workers: int = 1


class CloudSettings(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    api_key: SecretStr
    wait: Duration = 90.0
    headers: dict[str, str] = {}
    ping_input: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not 1 <= self.wait <= 300:
            raise ValueError("wait must lie between 1s and 5m")


class EmbedderSettings(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Home:
    Settings = HomeSettings


class Cloud:
    Settings = CloudSettings


class Embedder:
    """A kind that says of all its backends that they do nothing but embeddings."""

    Settings = EmbedderSettings
    capabilities = Capabilities(tasks=frozenset(["embeddings"]))


class Unreadable:
    """A kind with a setting of a type that YAML cannot hold."""

    class Settings(msgspec.Struct, frozen=True):
        limits: bytes


CLASSES: dict[str, type] = {
    "cloud": Cloud,
    "embedder": Embedder,
    "home": Home,
    "unreadable": Unreadable,
}


def load(kind: str) -> AdapterClass:
    if kind == "uninstalled":
        raise ImportError("No module named 'their_sdk'")
    return cast(AdapterClass, CLASSES[kind])


KINDS = Kinds(load=load, known=lambda: sorted(CLASSES))
ENVIRON = {"CLOUD_KEY": "rpa_the-very-secret", "EMPTY": ""}
