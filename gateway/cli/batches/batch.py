"""``spillgate batch``: runs a file of calls to its end, and lists, shows and cancels batches."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli.batches.bar import BatchBar
from gateway.cli.batches.begun import begun_before, digest_of, remember
from gateway.cli.batches.connection import (
    BatchConnection,
    BatchRefused,
    GatewayAway,
    add_connection,
    connected,
)
from gateway.cli.batches.results import ENDED, unanswered, write_results
from gateway.cli.shared import command, example, fail, table

_LOOK_S = 1.0
_AWAY_S = 120.0
"""How long a gateway may be away that was there: it may be starting again."""


_AGAIN = {
    "interrupted": " (the gateway died meanwhile: they may be charged; send them in a new file)"
}
"""What is to be done about lines that have such an error."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: done, and every line was answered; 1: some were not; 2: it was asked wrongly,
    or could not be done; 130: broken off, and may be gone on with."""
    options = _parser().parse_args(arguments)
    do: Callable[[argparse.Namespace, BatchConnection], int] = options.do
    with connected(options) as gateway:
        try:
            return do(options, gateway)
        except (BatchRefused, GatewayAway) as error:
            fail(str(error))
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}")


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "batch",
        "Files of calls, a line each, as OpenAI's Batches have them: run to their end by a time "
        "and within a budget, when there is room. Exit status 0: every line was answered; 1: some "
        "were not; 2: it could not be done; 130: broken off: the same command goes on.",
        "spillgate batch run input.jsonl --out results.jsonl --deadline 8h --budget 5USD",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_run(_action(actions, "run", "run a file, wait for its end, write the results"))
    listing = _action(actions, "list", "batches, newest first")
    listing.add_argument("--limit", default="20", metavar="N", help="so many; default: 20")
    listing.set_defaults(do=_list)
    add_connection(listing)
    show = _action(actions, "show", "how far one has come")
    show.add_argument("id", metavar="ID", help="batch_...")
    show.add_argument("--out", type=Path, metavar="FILE", help="write what has ended of it")
    show.set_defaults(do=_show)
    add_connection(show)
    cancel = _action(actions, "cancel", "begin no more of its lines")
    cancel.add_argument("id", metavar="ID", help="batch_...")
    cancel.set_defaults(do=_cancel)
    add_connection(cancel)
    return parser


_EXAMPLES = {
    "run": "input.jsonl --out results.jsonl --deadline 8h --budget 5USD",
    "list": "--limit 5",
    "show": "batch_01a2b3 --out results.jsonl",
    "cancel": "batch_01a2b3",
}


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help: str
) -> argparse.ArgumentParser:
    return example(actions, name, help, f"spillgate batch {name} {_EXAMPLES[name]}")


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("input", type=Path, metavar="FILE", help="a request in each line")
    run.add_argument(
        "--out", type=Path, metavar="FILE", help="the results; left out: FILE.results.jsonl"
    )
    run.add_argument(
        "--deadline", default="24h", metavar="SPAN", help="by when it must have ended: 30m, 8h, 7d"
    )
    run.add_argument("--budget", metavar="USD", help="that it may cost, such as 5USD")
    run.add_argument("--new", action="store_true", help="begin anew, whatever was begun before")
    run.set_defaults(do=_run)
    add_connection(run)


# --- run -----------------------------------------------------------------------------------------


def _run(options: argparse.Namespace, gateway: BatchConnection) -> int:
    source: Path = options.input
    out: Path = options.out or source.with_name(f"{source.stem}.results.jsonl")
    digest = digest_of(source)
    id = "" if options.new else begun_before(out, digest)
    if not id:
        id = _begin(options, gateway, source)
        remember(out, digest, id)
    with BatchBar() as bar:
        try:
            batch = _until_ended(gateway, id, bar)
        except KeyboardInterrupt:
            count = write_results(gateway, gateway.get(f"/v1/batches/{id}"), out)
            bar.note(f"{id} goes on; {out} has the {count} lines that have ended by now.")
            bar.note("The same command waits for the rest; `spillgate batch cancel` stops it.")
            return 130
    return _told(options, gateway, batch, out)


def _begin(options: argparse.Namespace, gateway: BatchConnection, source: Path) -> str:
    endpoint = _endpoint_of(source)
    asked = {
        "input_file_id": gateway.upload(source),
        "endpoint": endpoint,
        "completion_window": options.deadline,
    }
    headers = {"X-Spillgate-Budget": options.budget} if options.budget else None
    return str(gateway.post("/v1/batches", asked, headers)["id"])


def _endpoint_of(source: Path) -> str:
    """The url of its first line. Ends the program where that cannot be read."""
    with source.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    try:
        return str(json.loads(first)["url"])
    except (ValueError, KeyError, TypeError):
        fail(
            f'{source}: a line is {{"custom_id": ..., "method": "POST", "url": '
            '"/v1/chat/completions", "body": {...}}, and the first one is not'
        )


def _until_ended(gateway: BatchConnection, id: str, bar: BatchBar) -> dict[str, Any]:
    away_since: float | None = None
    while True:
        try:
            batch: dict[str, Any] = gateway.get(f"/v1/batches/{id}")
        except GatewayAway as away:
            now = time.monotonic()
            if away_since is None:
                away_since = now
                bar.note(f"the gateway is away ({away}); waiting for it")
            if now - away_since > _AWAY_S:
                raise
        else:
            away_since = None
            bar.show(batch)
            if batch["status"] in ENDED:
                return batch
        time.sleep(_LOOK_S)


def _told(
    options: argparse.Namespace, gateway: BatchConnection, batch: dict[str, Any], out: Path
) -> int:
    counts = batch["request_counts"]
    faults = (batch["errors"] or {}).get("data", [])
    if not faults:
        write_results(gateway, batch, out)
    if options.json:
        print(json.dumps(batch, indent=2))
    else:
        for fault in faults:
            field = f" ({fault['param']})" if fault["param"] else ""
            print(f"{options.input}:{fault['line']}: {fault['message']}{field}", file=sys.stderr)
        where = "nothing was run" if faults else f"the lines are in {out}"
        print(
            f"{batch['status']}: {counts['completed']} of {counts['total']} answered, "
            f"{counts['failed']} not, {batch['cost_usd']} USD; {where}"
        )
        for code, count in [] if faults else unanswered(out).most_common():
            print(f"  {count} not answered: {code}{_AGAIN.get(code, '')}")
    return 0 if batch["status"] == "completed" and not counts["failed"] else 1


# --- the others ----------------------------------------------------------------------------------

_HEADS = ("made", "id", "status", "lines", "answered", "failed", "USD", "endpoint")


def _list(options: argparse.Namespace, gateway: BatchConnection) -> int:
    found = gateway.get(f"/v1/batches?limit={quote(options.limit)}")
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(table(_HEADS, [_cells(one) for one in found["data"]]), end="")
    return 0


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    counts = one["request_counts"]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one["created_at"]))
    numbers = (str(counts[name]) for name in ("total", "completed", "failed"))
    return (made, one["id"], one["status"], *numbers, one["cost_usd"], one["endpoint"])


def _show(options: argparse.Namespace, gateway: BatchConnection) -> int:
    batch = gateway.get(f"/v1/batches/{quote(options.id, safe='')}")
    if options.out is not None:
        write_results(gateway, batch, options.out)
    _print(options, batch)
    return 0


def _cancel(options: argparse.Namespace, gateway: BatchConnection) -> int:
    _print(options, gateway.post(f"/v1/batches/{quote(options.id, safe='')}/cancel", {}))
    return 0


def _print(options: argparse.Namespace, batch: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(batch, indent=2))
        return
    for name, value in batch.items():
        if value not in (None, {}, ""):
            shown = json.dumps(value) if isinstance(value, dict) else value
            print(f"{name:<20} {shown}")
