"""``python -m benchmarks.console.pictures``: the console's pictures in docs/pictures anew.

A gateway serves the made-up month, with a stand-in behind it that keeps a few calls running, and
Debian's Chromium looks at it. The figures are drawn from one seed; the days are those until now.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.server
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.console.bills import keep_bills
from benchmarks.console.month import POLICY, fill

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
ROWS = 150_000
_RUNNING = 3
"""One more than the reserved machine runs at once."""
_WIDE = {"width": 1440, "height": 900}


class _StandIn(http.server.BaseHTTPRequestHandler):
    """Is well, and takes a call for as long as pictures are taken."""

    protocol_version = "HTTP/1.1"
    ends = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.ends.wait()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what it is asked is of no interest."""


@contextlib.contextmanager
def _stand_in() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _StandIn)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        _StandIn.ends.set()
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _gateway(folder: Path, behind: int) -> Iterator[tuple[str, str]]:
    """(Its address, the key of an admin)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    policy = folder / "policy.yaml"
    head = (
        f"version: 1\nserver: {{listen: 127.0.0.1:{port}, tls: 'off', data: {folder}}}\n"
        f"store: {{ledger: 'sqlite:///{folder}/ledger.db'}}\n"
    )
    there = f'"http://127.0.0.1:{behind}", health_path: /health'
    policy.write_text(head + POLICY.replace('"http://127.0.0.1:9"', there))
    spillgate = [sys.executable, "-m", "gateway"]
    config = ["--config", str(policy)]
    made = subprocess.run(
        [*spillgate, "keys", "create", *config, "--user", "ada", "--admin", "--json"],
        capture_output=True,
        check=True,
    )
    key = json.loads(made.stdout)["key"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([*spillgate, "serve", *config], stdout=log, stderr=log)
    try:
        yield _ready(f"http://127.0.0.1:{port}", running), key
    finally:
        running.terminate()
        running.wait(60)


def _ready(address: str, running: subprocess.Popen[bytes]) -> str:
    while running.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{address}/readyz").status_code == 200:
                return address
        time.sleep(0.2)
    raise SystemExit("the gateway did not start")


def _call(address: str, key: str) -> None:
    with contextlib.suppress(httpx.HTTPError):
        headers = {"Authorization": f"Bearer {key}"}
        body = {"prompt": "a spill gate"}
        httpx.post(f"{address}/v1/infer/flux-dev", json=body, headers=headers, timeout=600)


def _spilled(folder: Path) -> str:
    """The newest call that was asked of two platforms."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        (id,) = ledger.execute(
            "SELECT id FROM entries WHERE history LIKE '%overloaded%' AND outcome = 'success' "
            "AND model = 'llama-70b' AND reason = 'SPILL_WARM' ORDER BY started_at DESC LIMIT 1"
        ).fetchone()
    return str(id)


def _page(chromium: Browser, address: str, key: str, scheme: Any) -> Page:
    context = chromium.new_context(
        viewport=_WIDE, color_scheme=scheme, timezone_id="Europe/Berlin", locale="en-GB"
    )
    page = context.new_page()
    page.goto(f"{address}/dashboard")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Now").wait_for()
    return page


def _take(address: str, key: str, call: str, to: Path) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        light = _page(chromium, address, key, "light")
        light.goto(f"{address}/dashboard")
        light.screenshot(path=to / "console-now.png", full_page=True)
        light.locator("section", has_text="Where calls run").last.screenshot(path=to / "spill.png")
        light.goto(f"{address}/dashboard/calls/{call}")
        light.screenshot(path=to / "console-call.png", full_page=True)
        light.goto(f"{address}/dashboard/bill")
        light.screenshot(path=to / "console-bill.png")
        dark = _page(chromium, address, key, "dark")
        dark.goto(f"{address}/dashboard/spend")
        dark.screenshot(path=to / "console-spend.png", full_page=True)
        chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console.pictures")
    parser.add_argument("--to", type=Path, default=PICTURES)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    os.environ.pop("SPILLGATE_CONFIG", None)
    with tempfile.TemporaryDirectory() as name, _stand_in() as behind:
        folder, now = Path(name), time.time()
        asyncio.run(fill(folder / "ledger.db", options.rows, now))
        asyncio.run(keep_bills(folder / "ledger.db", folder / "bills.db", now))
        with _gateway(folder, behind) as (address, key):
            for _ in range(_RUNNING):
                threading.Thread(target=_call, args=(address, key), daemon=True).start()
            time.sleep(3)
            _take(address, key, _spilled(folder), options.to)
    print(f"the pictures are in {options.to}")


if __name__ == "__main__":
    main()
