"""The console in Debian's Chromium: what people come for, from the sign-in to its end, without an
error in the browser's console and without a serious fault of accessibility."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.console.visitor import PAGES, Visitor, needs_chromium
from tests.live import ROOT, LiveGateway

pytestmark = needs_chromium
AXE = ROOT / "tests" / "programs" / "axe" / "axe.min.js"


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


def test_a_route_is_changed_by_its_yaml_and_replayed_first(
    visitor: Visitor, gateway: LiveGateway
) -> None:
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
    page.get_by_role("button", name="What would it have saved?").click()
    page.get_by_text("It would have").wait_for(timeout=120_000)
    assert "this draft" in visitor.text()
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
def test_no_page_has_a_serious_fault_of_accessibility(
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
