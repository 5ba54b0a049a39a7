"""OpenAI's own client repeats POSTs by itself; what may have run is not run again for all that."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway

CONFIG = """
backends:
  paid: {{kind: openai, base_url: "{url}", price: tokens}}
models:
  chat: {{task: chat, backends: [paid]}}
prices:
  tokens: {{per_million_input: 2, per_million_output: 5, as_of: 2026-11-01, source: test}}
"""


@pytest.fixture(scope="module")
def paid() -> Iterator[PaidServer]:
    with PaidServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, paid: PaidServer) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path_factory.mktemp("retries"), CONFIG.format(url=paid.url)) as live:
        yield live


@pytest.mark.parametrize("status", [408, 500, 502, 504])
async def test_a_call_that_may_have_run_is_not_repeated_by_the_client(
    gateway: LiveGateway, paid: PaidServer, status: int
) -> None:
    """With its defaults the client would try each of these three times."""
    paid.calls, paid.status = 0, status
    async with openai.AsyncOpenAI(
        base_url=gateway.url + "/v1",
        api_key=gateway.user_key,
        http_client=httpx.AsyncClient(trust_env=False),
        timeout=30.0,
    ) as client:
        assert client.max_retries == 2
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "hello"}]
            )
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert paid.calls == 1
