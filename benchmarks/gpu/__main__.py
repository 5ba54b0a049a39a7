"""``python -m benchmarks.gpu``: see docs/performance.md."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import msgspec
import torch

from benchmarks.gateway.machine import describe, today
from benchmarks.gpu import cold
from benchmarks.gpu.models import DECODERS, ENCODERS, SizeName, decoder, encoder
from benchmarks.gpu.overhead import NotReady, overhead
from benchmarks.gpu.report import Report, as_text, written
from benchmarks.gpu.sweep import MODES, Effort, Mode, NeedsCuda, check_modes, sweep, usual_modes
from local_runtime.torched import device_of

EXAMPLES = """\
examples:
  python -m benchmarks.gpu                               everything that this device can do
  python -m benchmarks.gpu --quick --device cpu          seconds, on any machine
  python -m benchmarks.gpu --modes eager,graphs --batches 1,8,32 --only sweep
  python -m benchmarks.gpu --json run.json --markdown docs/performance.md
"""
PARTS = ("sweep", "cold", "overhead")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUICK = Effort(batches=(1, 4), seconds=0.05, starts=1, calls=20)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="An encoder and a decoder on a device: batches, cold start, overhead.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="tiny models, eager alone, few and short rounds")
    add("--device", help="cpu, cuda:0, ...; left out: the best there is")
    add("--size", choices=tuple(ENCODERS), help="of the models; base needs a GPU to be of use")
    add("--dtype", choices=tuple(DTYPES), help="left out: bfloat16 on CUDA, else float32")
    add("--modes", type=_of(MODES), help=f"of {', '.join(MODES)}")
    add("--batches", type=_numbers, help="sizes, with commas between them")
    add("--only", type=_of(PARTS), default=PARTS, help=f"of {', '.join(PARTS)}")
    add("--seconds", type=float, help="of one measurement")
    add("--threads", type=int, help="CPU threads of a model; left out: torch's own choice")
    add("--json", type=Path, metavar="FILE", help="write every figure there")
    add("--markdown", type=Path, metavar="FILE", help="write the tables into this page")
    return parser.parse_args(arguments)


class _of:  # noqa: N801 - reads as the type of an option
    """Names of a list, with commas between them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __call__(self, text: str) -> tuple[str, ...]:
        given = tuple(name.strip() for name in text.split(","))
        for name in given:
            if name not in self._names:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(self._names)}")
        return given


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("a batch has at least one row")
    return numbers


def effort_of(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else Effort()
    given = {"batches": options.batches, "seconds": options.seconds}
    changes = {name: value for name, value in given.items() if value is not None}
    return msgspec.structs.replace(effort, **changes)


def size_of(options: argparse.Namespace, device: torch.device) -> SizeName:
    usual: SizeName = "base" if device.type == "cuda" else "small"
    return options.size or ("tiny" if options.quick else usual)


def run(options: argparse.Namespace) -> Report:
    """Raises NeedsCuda before anything is measured, ValueError for a device that is not there,
    and NotReady."""
    device, effort = device_of(options.device), effort_of(options)
    size = size_of(options, device)
    modes: tuple[Mode, ...] = options.modes or (
        ("eager",) if options.quick else usual_modes(device)
    )
    check_modes(modes, device)
    dtype = options.dtype or ("bfloat16" if device.type == "cuda" else "float32")
    report = Report(
        date=today(),
        machine=describe(),
        device=_name(device),
        versions=f"torch {torch.__version__}, transformers {version('transformers')}",
        size=size,
        dtype=dtype,
    )
    changes: dict[str, object] = {}
    if "sweep" in options.only:
        cases = (
            encoder(ENCODERS[size], device, DTYPES[dtype]),
            decoder(DECODERS[size], device, DTYPES[dtype]),
        )
        swept = [sweep(case, device, modes, effort, say) for case in cases]
        changes["points"] = tuple(point for found in swept for point in found.points)
        changes["trouble"] = tuple(text for found in swept for text in found.trouble)
    if "cold" in options.only:
        changes["starts"] = _starts(size, device, effort.starts)
    if "overhead" in options.only:
        changes["overhead"] = asyncio.run(overhead(size, device, effort))
    return msgspec.structs.replace(report, **changes)


def _starts(size: SizeName, device: torch.device, count: int) -> tuple[cold.Start, ...]:
    with tempfile.TemporaryDirectory() as folder:
        cold.save(Path(folder), ENCODERS[size])
        say(f"{count} cold starts")
        return tuple(cold.start(Path(folder), device, size) for _ in range(count))


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads"


def say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def main() -> int:
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        report = run(options)
    except (NeedsCuda, NotReady, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(as_text(report))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if options.markdown:
        page = options.markdown.read_text() if options.markdown.exists() else ""
        options.markdown.write_text(written(page, report))
    return 1 if report.trouble else 0


if __name__ == "__main__":
    sys.exit(main())
