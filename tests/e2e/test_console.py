"""The console in Debian's Chromium: what people come for, from the sign-in to its end, without an
error in the browser's console and without a serious fault of accessibility."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api

from benchmarks.console.bills import keep_bills
from benchmarks.console.month import POLICY, fill
from tests.live import ROOT, LiveGateway

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
AXE = ROOT / "tests" / "programs" / "axe" / "axe.min.js"
PAGES = ("", "spend", "backends", "backends/runpod-flex", "calls", "keys", "policy", "jobs",
         "incidents", "bill", "bill/runpod-flex")  # fmt: skip
ROWS = 3_000
CUT_OFF = """[...document.querySelectorAll("table.stack")]
  .filter(table => table.scrollWidth > table.parentElement.clientWidth)
  .map(table => table.innerText.slice(0, 60))"""
"""Tables that are turned into lists on a phone, and are wider than their card all the same."""


class Visitor:
    """A person with a browser, and what the browser complained of."""

    def __init__(self, page: Any, gateway: LiveGateway) -> None:
        self.page = page
        self.gateway = gateway
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._hear)
        page.on("dialog", lambda dialog: dialog.accept())

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def open(self, path: str = "") -> None:
        self.page.goto(f"http://127.0.0.1:{self.gateway.port}/dashboard/{path}".rstrip("/"))

    def sign_in(self, key: str) -> None:
        self.open()
        self.page.get_by_label("Key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Now").wait_for()

    def text(self) -> str:
        found: str = self.page.inner_text("main")
        return found


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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


def test_who_burnt_the_money_yesterday_is_found_down_to_one_of_his_calls(
    visitor: Visitor, gateway: LiveGateway
) -> None:
    page = visitor.page
    visitor.sign_in(gateway.admin_key)
    page.get_by_role("link", name="Spend", exact=True).click()
    page.get_by_role("link", name="yesterday", exact=True).click()
    rows = page.locator("tbody tr").filter(has_not_text="idle").filter(has_not_text="kept warm")
    rows.first.locator("td.n a").first.click()
    page.get_by_role("heading", name="Calls").wait_for()
    assert "user=" in page.url
    page.locator("tbody th a").first.click()
    page.get_by_text("What could have answered").wait_for()
    assert re.search(r"req_[0-9a-f]+", visitor.text())


def test_a_backend_is_drained_and_enabled_again(visitor: Visitor, gateway: LiveGateway) -> None:
    page = visitor.page
    visitor.sign_in(gateway.admin_key)
    page.get_by_role("link", name="Backends", exact=True).click()
    page.get_by_role("row", name="modal-spare").get_by_role("button", name="Drain").click()
    page.get_by_text("drained: it is sent no calls").wait_for()
    page.get_by_role("button", name="Enable").click()
    page.get_by_text("It is sent calls again.").wait_for()


def test_a_budget_is_raised_and_the_policy_before_it_returns(
    visitor: Visitor, gateway: LiveGateway
) -> None:
    page = visitor.page
    visitor.sign_in(gateway.admin_key)
    page.get_by_role("link", name="Keys", exact=True).click()
    row = page.get_by_role("row", name="each user of plan batch")
    row.get_by_role("textbox").fill("250 USD/month")
    row.get_by_role("button", name="See the difference").click()
    page.get_by_text("What would change").wait_for()
    assert "+    spend: 250 USD/month" in page.inner_text("pre.diff")
    page.get_by_role("button", name="Put it in force").click()
    page.get_by_text("The policy is in force.").wait_for()
    assert "250 USD/month" in page.input_value("textarea.yaml")
    page.get_by_role("button", name="Return to it").first.click()
    page.get_by_text("The earlier policy is in force again.").wait_for()
    assert "200 USD/month" in page.input_value("textarea.yaml")


def test_a_route_is_changed_by_its_yaml(visitor: Visitor, gateway: LiveGateway) -> None:
    page = visitor.page
    visitor.sign_in(gateway.admin_key)
    visitor.open("policy")
    text = page.input_value("textarea.yaml")
    assert "max_price: 0.05" in text
    page.fill("textarea.yaml", text.replace("max_price: 0.05", "max_price: much"))
    page.get_by_role("button", name="See the difference").click()
    page.get_by_role("alert").wait_for()
    assert "max_price" in page.inner_text("[role=alert]")
    visitor.faults.clear()  # the browser tells of the answer 400
    page.fill("textarea.yaml", text.replace("max_price: 0.05", "max_price: 0.04"))
    page.get_by_role("button", name="See the difference").click()
    page.get_by_role("button", name="Put it in force").click()
    page.get_by_text("The policy is in force.").wait_for()
    page.get_by_role("button", name="Return to it").first.click()
    page.get_by_text("The earlier policy is in force again.").wait_for()


def test_a_bill_as_a_file_is_put_beside_the_ledger(
    visitor: Visitor, gateway: LiveGateway, tmp_path: Path
) -> None:
    page = visitor.page
    visitor.sign_in(gateway.admin_key)
    page.get_by_role("link", name="Bill", exact=True).click()
    page.get_by_role("row", name="modal-spare the platform").get_by_role("link").first.click()
    page.get_by_text("The bill's lines").wait_for()
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * 86_400))
    (tmp_path / "invoice.csv").write_text(f"day,usd,fee_usd\n{day},64.56,0.5\n")
    page.locator("select[name=backend]").select_option("h100-pod")
    page.locator("input[type=file]").set_input_files(tmp_path / "invoice.csv")
    page.get_by_role("button", name="Compare it with the ledger").click()
    page.get_by_text("The bill stands beside the ledger").wait_for()
    assert "invoice.csv" in visitor.text()
    assert "64.56" in visitor.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_no_page_has_a_serious_fault_of_accessibility_or_is_wider_than_the_screen(
    scheme: str, width: int, browser: Any, gateway: LiveGateway
) -> None:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True
    )
    visitor = Visitor(context.new_page(), gateway)
    visitor.sign_in(gateway.admin_key)
    id = sqlite3.connect(gateway.data / "ledger.db").execute(
        "SELECT id FROM entries WHERE history LIKE '%overloaded%' LIMIT 1"
    )
    faults = []
    for path in (*PAGES, f"calls/{id.fetchone()[0]}"):
        visitor.open(path)
        visitor.page.add_script_tag(path=str(AXE))
        found = visitor.page.evaluate("axe.run()")
        faults += [
            (path, one["id"], one["nodes"][0]["html"][:200])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        wide = visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        faults += [(path, "wider than the screen", str(wide))] if wide > 0 else []
        cut = visitor.page.evaluate(CUT_OFF)
        faults += [(path, "runs out of its card", str(cut))] if cut else []
    context.close()
    assert faults == []
    assert visitor.faults == []


def test_every_page_is_whole_without_a_script_and_small(browser: Any, gateway: LiveGateway) -> None:
    context = browser.new_context(java_script_enabled=False)
    visitor = Visitor(context.new_page(), gateway)
    visitor.sign_in(gateway.admin_key)
    sizes = dict.fromkeys(PAGES, 0)
    for path in PAGES:
        answers: list[Any] = []
        visitor.page.on("response", lambda answer, to=answers: to.append(answer))
        visitor.open(path)
        assert visitor.page.get_by_role("heading", level=1).inner_text()
        sizes[path] = sum(len(answer.body()) for answer in answers)
    context.close()
    assert {path: size for path, size in sizes.items() if size > 200 * 1024} == {}
