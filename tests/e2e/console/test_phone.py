"""The console on a phone: nothing is cut, and what can be pressed can be reached."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.e2e.console.visitor import PAGES, Visitor, needs_chromium
from tests.live import LiveGateway

pytestmark = needs_chromium
WIDTHS = (390, 320)
MORE = (
    "spend?by=user&then=model&range=30d",
    "spend?cumulative=1&range=90d&by=tag:team",
    "calls?range=30d&outcome=error",
    "incidents?range=30d",
    "keys?state=all",
    "nowhere",
)
HIDDEN = """(() => [...document.querySelectorAll("main, main *, header, header *")]
  .filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 1)
  .filter(one => getComputedStyle(one).overflowX !== "visible")
  .filter(one => !one.matches("pre, textarea, .unseen"))
  .filter(one => !(one.matches(".scroll") && one.tabIndex === 0 &&
                   getComputedStyle(one).backgroundAttachment.includes("local")))
  .map(one => `${one.tagName}.${one.className}: ${one.innerText.slice(0, 60)}`))()"""
"""What is wider than its box, but for tables whose box tells of it by a shadow and is scrolled by
keys too, and texts of many lines."""
CUT = """(() => [...document.querySelectorAll("table")]
  .filter(one => !one.closest(".scroll") || one.matches(".stack"))
  .filter(one => one.scrollWidth > one.parentElement.clientWidth)
  .map(one => one.innerText.slice(0, 60)))()"""
"""Tables that run out of their card and cannot be scrolled, or are lists on a phone."""
UNREACHED = """(() => [...document.querySelectorAll("a, button, input, select, textarea")]
  .filter(one => one.checkVisibility({visibilityProperty: true}) && !one.closest(".columns, .skip"))
  .filter(one => {
    one.scrollIntoView({block: "center", inline: "nearest"});
    const [box] = one.getClientRects();
    const x = box.left + box.width / 2, y = box.top + box.height / 2;
    const there = document.elementFromPoint(x, y);
    return box.left < -0.5 || box.right > innerWidth + 0.5 || !there ||
           !(one.contains(there) || there.contains(one));
  })
  .map(one => `${one.outerHTML.slice(0, 80)}`))()"""
"""What could be pressed, and is not on the screen after it was scrolled to."""


@pytest.fixture(scope="module")
def told(gateway: LiveGateway) -> LiveGateway:
    """A gateway that has something of everything to show, and long names."""
    with gateway.client(gateway.admin_key) as admin:
        key = {
            "user": "somebody-whose-name-is-long@research.example.com",
            "tags": {"team": "search-and-recommendations"},
            "limits": {"spend": "5 USD/day"},
        }
        made = admin.post("/admin/keys", json=key)
        assert made.status_code == 201, made.text
        for act in ("drain", "enable"):
            admin.post(f"/admin/backends/modal-spare/{act}").raise_for_status()
    with gateway.client(made.json()["key"]) as caller:
        job = {"model": "flux-dev", "input": {"prompt": "a spill gate"}, "deadline": "1h"}
        answer = caller.post("/v1/jobs", json=job)
        assert answer.status_code == 202, answer.text
    return gateway


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways_and_all_that_can_be_pressed_is_reached(
    width: int, browser: Any, told: LiveGateway
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, has_touch=True)
    visitor = Visitor(context.new_page(), told)
    visitor.open()
    faults = _faults(visitor, "sign-in", width)
    visitor.sign_in(told.admin_key)
    for path in (*PAGES, *MORE, *_of_one(told)):
        visitor.open(path)
        faults += _faults(visitor, path, width)
    context.close()
    assert faults == []


def _of_one(gateway: LiveGateway) -> list[str]:
    """The pages of a call that failed over, of the job, and of a policy that was in force."""
    rows = sqlite3.connect(gateway.data / "ledger.db")
    (call,) = rows.execute("SELECT id FROM entries WHERE history LIKE '%overloaded%'").fetchone()
    with gateway.client(gateway.admin_key) as admin:
        changes = admin.get("/admin/policy/history").json()["data"]
    return [f"calls/{call}", f"policy/{changes[-1]['policy']}"]


def _faults(visitor: Visitor, path: str, width: int) -> list[tuple[str, str, str]]:
    page = visitor.page
    wide = page.evaluate("document.documentElement.scrollWidth")
    found = [(path, "scrolls sideways", str(wide))] if wide > width else []
    for what, script in (("is hidden", HIDDEN), ("is cut", CUT), ("is not reached", UNREACHED)):
        found += [(path, what, one) for one in page.evaluate(script)]
    return found
