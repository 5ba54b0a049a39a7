"""``spillgate usage --reconcile``: a platform's bill, asked over HTTP, beside a real ledger."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.cli import main
from gateway.clock import SystemClock
from gateway.storage.base import LedgerRow
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.adapters.scenarios import KEY
from tests.adapters.served import served

HOUR = 3600.0
POLICY = """
version: 1
server: {{listen: "127.0.0.1:1", tls: "off", data: {folder}}}
store: {{ledger: "sqlite:///{folder}/ledger.db"}}
backends:
  burst:
    {{kind: runpod, endpoint: ep, api_key: "${{BILLED_KEY}}", base_url: {url},
      management_url: {url}, price: flex}}
  engine: {{kind: openai, base_url: "http://127.0.0.1:1"}}
models:
  m: {{task: infer, backends: [burst, engine]}}
prices:
  flex: {{per_second: 0.001, bills: [start, run, idle], source: "the list"}}
"""


class Platform:
    """The billing records of a management plane; ``records`` is what it answers."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.asked: list[dict[str, str]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v2/billing/serverless", self.bill)])

    async def bill(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {KEY}":
            return JSONResponse({"title": "no", "status": 403, "detail": "not your key"}, 403)
        self.asked.append(dict(request.query_params))
        return JSONResponse({"records": self.records, "metadata": {"recordCount": 1}})


@pytest.fixture
def platform() -> Iterator[tuple[Platform, str]]:
    there = Platform()
    with served(there.app()) as url:
        yield there, url


class Shell:
    """Runs the command in this process, over one policy."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self._capsys = capsys
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        try:
            found: object = main(["usage", "--config", str(self.config), *words])
        except SystemExit as end:
            found = end.code
        printed = self._capsys.readouterr()
        self.error = printed.err
        assert found == status, printed.out + printed.err
        assert KEY not in printed.out + printed.err
        return printed.out

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self("--json", *words, status=status))


@pytest.fixture
def shell(
    tmp_path: Path,
    platform: tuple[Platform, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    monkeypatch.setenv("BILLED_KEY", KEY)
    config = tmp_path / "policy.yaml"
    config.write_text(POLICY.format(folder=tmp_path / "data", url=platform[1] + "/v2"))
    return Shell(config, capsys)


@pytest.fixture
def hour(tmp_path: Path) -> float:
    """The beginning of an hour that has ended, in which three rows were settled at the backend;
    another backend, and another hour, have rows as well."""
    began = SystemClock().time() // HOUR * HOUR - 2 * HOUR

    def row(id: str, at: float, **more: Any) -> LedgerRow:
        given: dict[str, Any] = {
            "id": id, "outcome": "success", "started_at": at, "ended_at": at + 1, "key_id": "k",
            "user": "alice", "model": "m", "task": "infer", "backend": "burst",
            "gpu_us": 10_000_000, "cost_nano": 10_000_000,
        }  # fmt: skip
        return LedgerRow(**{**given, **more})

    async def write() -> None:
        ledger = SqliteLedger(tmp_path / "data" / "ledger.db")
        await ledger.settle(
            [
                row("a", began),
                row("b", began + 3599.0, cold_us=5_000_000, cost_nano=15_000_000),
                row(
                    "p",
                    began + 60.0,
                    kind="ping",
                    outcome="ping",
                    gpu_us=1_000_000,
                    cost_nano=10**6,
                ),
                row("elsewhere", began + 60.0, backend="engine"),
                row("later", began + HOUR),
            ]
        )
        await ledger.aclose()

    asyncio.run(write())
    return began


def iso(instant: float) -> str:
    return datetime.datetime.fromtimestamp(instant, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of(hour: float) -> list[str]:
    """The options that name that hour, a little wider, as a person would."""
    return ["--since", iso(hour + 59), "--until", iso(hour + HOUR + 59)]


def test_a_bill_stands_beside_the_rows_of_the_same_backend_and_hours(
    shell: Shell, platform: tuple[Platform, str], hour: float
) -> None:
    billed = {"totalAmount": 0.05, "gpuAmount": 0.04, "feeAmount": 0.01, "timeBilledMs": 40_000}
    platform[0].records = [
        {"time": iso(hour), "serverlessId": "ep", **billed},
        {"time": iso(hour + HOUR), "serverlessId": "ep", **billed},
    ]
    told = shell.json("--reconcile", "burst", *of(hour))
    [found] = told["backends"]
    assert (found["from"], found["to"]) == (iso(hour)[:-4] + "Z", iso(hour + HOUR)[:-4] + "Z")
    assert platform[0].asked[0]["startTime"] == iso(hour)
    [day] = found["days"]
    assert day["bill"] == {
        "usd": "0.05",
        "seconds": 40.0,
        "calls": None,
        "lines": 1,
        "parts": {"gpu": "0.04", "fee": "0.01"},
    }
    assert day["ledger"] == {
        "usd": "0.026",
        "seconds": 26.0,
        "calls": 2,
        "by_kind": {"call": "0.025", "ping": "0.001"},
    }
    assert found["difference"] == {
        "usd": "0.024",
        "corrected_usd": "0",
        "open_usd": "0.024",
        "percent_of_bill": 48.0,
    }
    parts = {cause["cause"]: (cause["usd"], cause.get("seconds")) for cause in found["causes"]}
    assert parts == {"idle": ("0.014", 14.0), "fees": ("0.01", None)}


def test_without_a_name_every_backend_that_has_bills_is_compared(shell: Shell, hour: float) -> None:
    text = shell("--reconcile", *of(hour))
    assert text.startswith("burst (runpod), ")
    assert "engine" not in text
    assert "difference         -$0.026" in text


def test_a_bill_that_is_refused_is_told_and_leaves_exit_status_1(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, hour: float
) -> None:
    monkeypatch.setenv("BILLED_KEY", "another-4711")
    told = shell.json("--reconcile", "burst", *of(hour), status=1)
    assert told["backends"] == []
    assert "refused the gateway's credentials" in told["not_had"]["burst"]
    shell("--reconcile", *of(hour), status=1)
    assert "burst: no bill: " in shell.error
    assert "another-4711" not in shell.error


def test_a_secret_that_is_not_set_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, hour: float
) -> None:
    monkeypatch.delenv("BILLED_KEY")
    shell("--reconcile", *of(hour), status=1)
    assert "burst: no bill: backends.burst.api_key: the environment variable" in shell.error
    assert "BILLED_KEY is not set" in shell.error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--reconcile", "nobody"], "no backend 'nobody'; bills are stated for burst"),
        (["--reconcile", "engine"], "engine: kind openai states no bill that we can read"),
        (["--reconcile", "--bill", "b.csv"], "--bill is one backend's: name it"),
        (
            ["--reconcile", "nobody", "--bill", "b.csv"],
            "no backend 'nobody'; there are burst, engi",
        ),
        (["--reconcile", "engine", "--bill", "none.csv"], "none.csv cannot be read: No such file"),
        (["--book"], "--book belongs to --reconcile BACKEND"),
        (["--bill", "b.csv"], "--bill belongs to --reconcile BACKEND"),
        (["--reconcile", "--format", "csv"], "as a table or as JSON"),
        (["--reconcile", "--where", "user=alice"], "compares whole backends"),
        (["--reconcile", "--since", "yesterday-ish"], "from is a date"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_compared_is_said(words: list[str], says: str, shell: Shell) -> None:
    shell(*words, status=2)
    assert says in shell.error


def test_an_hour_that_goes_on_is_not_compared(shell: Shell) -> None:
    this_hour = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:00Z")
    shell("--reconcile", "--since", this_hour, status=2)
    assert "no hour that has ended" in shell.error


def test_a_policy_without_any_bill_says_so(shell: Shell) -> None:
    text = shell.config.read_text()
    start, end = text.index("  burst:"), text.index("  engine:")
    shell.config.write_text((text[:start] + text[end:]).replace("[burst, engine]", "[engine]"))
    shell("--reconcile", status=2)
    assert "no backend's platform states a bill that we can read" in shell.error


# --- a bill as a file, and corrections -----------------------------------------------------------


def test_a_bill_as_csv_is_compared_for_a_backend_that_no_program_can_ask(
    shell: Shell, hour: float, tmp_path: Path
) -> None:
    bill = tmp_path / "engine.csv"
    bill.write_text(f"start,end,usd\n{iso(hour)},{iso(hour + HOUR)},0.5\n")
    told = shell.json("--reconcile", "engine", "--bill", str(bill), *of(hour))
    assert told["backends"][0]["difference"]["usd"] == "0.49"
    assert told["backends"][0]["priced_by"] == "platform"


def test_a_line_of_a_bill_that_cannot_be_read_is_named(
    shell: Shell, hour: float, tmp_path: Path
) -> None:
    bill = tmp_path / "engine.csv"
    bill.write_text("day,usd\n2026-11-22,1\n2026-11-23,one\n")
    shell("--reconcile", "engine", "--bill", str(bill), "--book", status=2)
    assert "engine.csv line 3: usd 'one' is no number such as 1234.56" in shell.error


def test_a_bill_of_seconds_needs_a_price_of_a_second(
    shell: Shell, hour: float, tmp_path: Path
) -> None:
    bill = tmp_path / "engine.csv"
    bill.write_text(f"start,end,seconds\n{iso(hour)},{iso(hour + HOUR)},3600\n")
    shell("--reconcile", "engine", "--bill", str(bill), *of(hour), status=1)
    assert "engine: no bill: the bill states seconds alone" in shell.error


def test_what_is_booked_is_in_the_report_of_usage(
    shell: Shell, hour: float, tmp_path: Path
) -> None:
    day = (hour // 86_400 - 1) * 86_400
    bill = tmp_path / "burst.csv"
    bill.write_text(f"day,usd\n{iso(day)[:10]},3\n")
    told = shell.json("--reconcile", "burst", "--bill", str(bill), "--book")
    assert told["backends"][0]["difference"]["open_usd"] == "0"
    again = shell("--reconcile", "burst", "--bill", str(bill), "--since", iso(day))
    assert "$3  of the difference, as corrections" in again
    assert "system:corrections" in shell("--since", iso(day), "--where", "kind=correction")
