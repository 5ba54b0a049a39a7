"""A gateway with a month behind it, a browser, and somebody who looks at one with the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright import sync_api

from benchmarks.console.bills import keep_bills
from benchmarks.console.month import POLICY, fill
from tests.e2e.console.visitor import CHROMIUM, Visitor
from tests.live import LiveGateway

ROWS = 3_000


@pytest.fixture(scope="package")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """With a month of calls. They are made in a thread: Playwright has a loop in this one."""
    folder = tmp_path_factory.mktemp("console")
    made = LiveGateway(folder, POLICY)
    made.data.mkdir(parents=True)
    now, ledger = time.time(), made.data / "ledger.db"
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, fill(ledger, ROWS, now)).result()
        thread.submit(asyncio.run, keep_bills(ledger, made.data / "bills.db", now)).result()
    with made as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser: Any, gateway: LiveGateway) -> Iterator[Visitor]:
    context = browser.new_context(timezone_id="Europe/Berlin")
    visitor = Visitor(context.new_page(), gateway)
    yield visitor
    context.close()
    assert visitor.faults == []
