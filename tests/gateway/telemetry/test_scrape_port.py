"""Who may read what is counted."""

from __future__ import annotations

from pathlib import Path

import httpx

from gateway.clock import FakeClock
from gateway.telemetry.started import Telemetry
from tests.gateway.assembled import POLICY, assembled
from tests.live import free_port


async def test_metrics_need_an_admin_key_where_the_policy_says_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("access_log: false", "access_log: false, metrics: key")
    async with assembled(tmp_path, clock, text) as gateway:
        async with gateway.client() as client:
            assert (await client.get("/metrics", headers={"Authorization": ""})).status_code == 401
            assert (await client.get("/metrics")).status_code == 403
        async with gateway.client(gateway.key(admin=True)) as client:
            assert "spillgate_calls" in (await client.get("/metrics")).text
        bound = gateway.key(admin=True, paths=["/metrics"])
        async with gateway.client(bound) as client:
            assert (await client.get("/metrics")).status_code == 200
            assert (await client.get("/admin/keys")).status_code == 403


async def test_metrics_have_an_address_of_their_own_where_the_policy_says_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    port = free_port()
    text = POLICY.replace(
        "access_log: false", f'access_log: false, metrics: {{listen: "127.0.0.1:{port}"}}'
    )
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        async with Telemetry(gateway.inner), httpx.AsyncClient(trust_env=False) as scraper:
            scraped = await scraper.get(f"http://127.0.0.1:{port}/metrics")
            assert "spillgate_slots" in scraped.text
            elsewhere = await scraper.get(f"http://127.0.0.1:{port}/admin/keys")
            assert elsewhere.status_code == 404
        assert (await client.get("/metrics")).status_code == 404
