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

from benchmarks.command import add_files, deliver, parser_of, say, some_of, with_given
from benchmarks.gateway.machine import describe, today
from benchmarks.gpu import cold
from benchmarks.gpu.models import DECODERS, ENCODERS, SizeName, decoder, encoder
from benchmarks.gpu.overhead import NotReady, overhead
from benchmarks.gpu.report import Report, as_text, written
from benchmarks.gpu.sweep import MODES, Effort, Mode, NeedsCuda, check_modes, sweep, usual_modes
from local_runtime.pytorch import device_of

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
    what = "An encoder and a decoder on a device: batches, cold start, overhead."
    parser = parser_of("gpu", what, EXAMPLES)
    add = parser.add_argument
    add("--quick", action="store_true", help="tiny models, eager alone, few and short rounds")
    add("--device", help="cpu, cuda:0, ...; left out: the best there is")
    add("--size", choices=tuple(ENCODERS), help="of the models; base needs a GPU to be of use")
    add("--dtype", choices=tuple(DTYPES), help="left out: bfloat16 on CUDA, else float32")
    add("--modes", type=some_of(MODES), help=f"of {', '.join(MODES)}")
    add("--batches", type=_numbers, help="sizes, with commas between them")
    add("--only", type=some_of(PARTS), default=PARTS, help=f"of {', '.join(PARTS)}")
    add("--seconds", type=float, help="of one measurement")
    add("--threads", type=int, help="CPU threads of a model; left out: torch's own choice")
    add_files(parser)
    return parser.parse_args(arguments)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("a batch has at least one row")
    return numbers


def effort_of(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else Effort()
    return with_given(effort, batches=options.batches, seconds=options.seconds)


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


def main() -> int:
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        report = run(options)
    except (NeedsCuda, NotReady, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    deliver(report, as_text(report), options, lambda page: written(page, report))
    return 1 if report.trouble else 0


if __name__ == "__main__":
    sys.exit(main())
