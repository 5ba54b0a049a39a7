"""Hosted providers of OpenAI's protocol, and of Anthropic's: where each is, and how it is shown a
key.

Sources, as of 2026-11: https://platform.openai.com/docs/api-reference/authentication,
https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle,
https://openrouter.ai/docs/api-reference/overview, https://console.groq.com/docs/openai,
https://docs.mistral.ai/api, https://docs.together.ai/docs/openai-api-compatibility,
https://docs.fireworks.ai/tools-sdks/openai-compatibility, https://api-docs.deepseek.com,
https://docs.x.ai/docs/api-reference, https://inference-docs.cerebras.ai/api-reference,
https://docs.api.nvidia.com/nim/reference/llm-apis, https://docs.cohere.com/docs/compatibility-api,
https://docs.claude.com/en/api/overview,
https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html,
https://ai.google.dev/gemini-api/docs/openai
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

ProviderName = Literal[
    "azure", "openai", "anthropic", "openrouter", "groq", "mistral", "together", "fireworks",
    "deepseek", "xai", "cerebras", "nvidia", "cohere", "bedrock", "gemini",
]  # fmt: skip


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy need not say of a provider."""

    base_url: str = ""
    """Empty: each customer has an address of its own."""
    key_header: str = ""
    """Which carries the key by itself; empty: a bearer token."""
    native: frozenset[Literal["messages", "responses"]] = frozenset()
    native_alone: bool = False
    """Nothing of OpenAI's protocol is asked of it."""
    headers: Mapping[str, str] = MappingProxyType({})
    """That go with every request."""
    lists_models: bool = True
    has_v1: bool = True
    """The paths of the protocol begin with /v1 below its address; else right there."""


_OTHERS = {
    "openrouter": "https://openrouter.ai/api",
    "groq": "https://api.groq.com/openai",
    "mistral": "https://api.mistral.ai",
    "together": "https://api.together.xyz",
    "fireworks": "https://api.fireworks.ai/inference",
    "deepseek": "https://api.deepseek.com",
    "xai": "https://api.x.ai",
    "cerebras": "https://api.cerebras.ai",
    "nvidia": "https://integrate.api.nvidia.com",
    "cohere": "https://api.cohere.ai/compatibility",
}
VERSION = MappingProxyType({"anthropic-version": "2023-06-01"})
"""Without it Anthropic refuses a request (https://docs.claude.com/en/api/versioning)."""
_RESPONDS: frozenset[Literal["messages", "responses"]] = frozenset(("responses",))
PROVIDERS: dict[str, Provider] = {
    "azure": Provider(key_header="api-key", native=_RESPONDS),
    "openai": Provider(base_url="https://api.openai.com", native=_RESPONDS),
    "anthropic": Provider(
        base_url="https://api.anthropic.com",
        key_header="x-api-key",
        native=frozenset(("messages",)),
        native_alone=True,
        headers=VERSION,
    ),
    **{name: Provider(base_url=url) for name, url in _OTHERS.items()},
    "bedrock": Provider(lists_models=False),
    "gemini": Provider(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai", has_v1=False
    ),
}
UNKNOWN = Provider()
"""Of a server that is none of them."""
