"""Hosted providers of OpenAI's protocol: where each is, and how it is shown a key.

Sources, as of 2026-11: https://platform.openai.com/docs/api-reference/authentication,
https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle,
https://openrouter.ai/docs/api-reference/overview, https://console.groq.com/docs/openai,
https://docs.mistral.ai/api, https://docs.together.ai/docs/openai-api-compatibility,
https://docs.fireworks.ai/tools-sdks/openai-compatibility, https://api-docs.deepseek.com
"""

from __future__ import annotations

from typing import Literal

import msgspec

ProviderName = Literal[
    "azure", "openai", "openrouter", "groq", "mistral", "together", "fireworks", "deepseek"
]


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy need not say of a provider."""

    base_url: str = ""
    """Empty: each customer has an address of its own."""
    key_header: str = ""
    """Which carries the key by itself; empty: a bearer token."""
    native: frozenset[Literal["messages", "responses"]] = frozenset()


_OTHERS = {
    "openrouter": "https://openrouter.ai/api",
    "groq": "https://api.groq.com/openai",
    "mistral": "https://api.mistral.ai",
    "together": "https://api.together.xyz",
    "fireworks": "https://api.fireworks.ai/inference",
    "deepseek": "https://api.deepseek.com",
}
_RESPONDS: frozenset[Literal["messages", "responses"]] = frozenset(("responses",))
PROVIDERS: dict[str, Provider] = {
    "azure": Provider(key_header="api-key", native=_RESPONDS),
    "openai": Provider(base_url="https://api.openai.com", native=_RESPONDS),
    **{name: Provider(base_url=url) for name, url in _OTHERS.items()},
}
UNKNOWN = Provider()
"""Of a server that is none of them."""
