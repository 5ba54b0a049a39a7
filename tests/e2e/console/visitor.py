"""Somebody with a browser."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.live import LiveGateway

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PAGES = ("", "spend", "backends", "backends/runpod-flex", "calls", "keys", "policy", "jobs",
         "incidents", "bill", "bill/runpod-flex")  # fmt: skip


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
