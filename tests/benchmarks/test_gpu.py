"""The benchmark of devices runs on any machine, and says no where it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from benchmarks.gpu.__main__ import parse, size_of
from benchmarks.gpu.models import DECODERS, ENCODERS, Case, decoder, encoder
from benchmarks.gpu.overhead import Overhead
from benchmarks.gpu.report import BEGIN, END, Report, written
from benchmarks.gpu.sweep import (
    Effort,
    NeedsCuda,
    Point,
    check_modes,
    sweep,
    timed,
    usual_modes,
)
from local_runtime.pytorch import Buckets, Served
from local_runtime.pytorch.served import Forward
from tests.live import ROOT

CPU = torch.device("cpu")
FLOAT = torch.float32


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--threads", "1", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
    )


def test_the_quick_form_measures_every_part_on_a_cpu(tmp_path: Path) -> None:
    """Both models at both sizes, a cold start in its parts, and the way through a worker."""
    file = tmp_path / "run.json"
    done = bench("--quick", "--device", "cpu", "--json", str(file))
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(file.read_bytes(), type=Report)
    assert [(point.model, point.batch) for point in report.points] == [
        ("encoder", 1),
        ("encoder", 4),
        ("decoder step", 1),
        ("decoder step", 4),
    ]
    assert all(point.ms > 0 and point.peak_mib is None for point in report.points)
    (start,) = report.starts
    assert min(start.imports, start.weights, start.first, start.second) > 0
    assert report.overhead is not None
    assert report.overhead.through_ms > 0
    assert report.overhead.through_rows_per_s > 0
    assert "through a worker" in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--modes", "eager,graphs"), "graphs: CUDA graphs need CUDA, and this is cpu"),
        (("--device", "cuda:99"), "'cuda:99' is not among the devices"),
    ],
)
def test_what_needs_cuda_is_refused_before_anything_is_measured(
    options: tuple[str, ...], told: str
) -> None:
    done = bench("--device", "cpu", *options)
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert done.stdout == ""


def test_a_mode_that_is_none_is_told() -> None:
    with pytest.raises(SystemExit):
        parse(["--modes", "eager,fast"])


def test_a_gpu_is_measured_in_every_mode_and_a_cpu_without_graphs() -> None:
    cuda = torch.device("cuda:0")
    check_modes(usual_modes(cuda), cuda)
    check_modes(usual_modes(CPU), CPU)
    assert len(usual_modes(cuda)) == 4
    with pytest.raises(NeedsCuda, match=r"compiled\+graphs"):
        check_modes(("compiled+graphs",), CPU)


def test_the_models_are_as_large_as_the_device_is_good_for() -> None:
    assert size_of(parse([]), torch.device("cuda:0")) == "base"
    assert size_of(parse([]), CPU) == "small"
    assert size_of(parse(["--quick"]), CPU) == "tiny"
    assert size_of(parse(["--quick", "--size", "small"]), CPU) == "small"


@pytest.mark.parametrize(
    "case",
    [encoder(ENCODERS["tiny"], CPU, FLOAT), decoder(DECODERS["tiny"], CPU, FLOAT)],
    ids=lambda case: case.name,
)
def test_recorded_work_gives_what_the_model_gives(case: Case) -> None:
    """What is timed in fixed shapes is the same work; a step again and again at one depth."""
    forward, inputs = case.forward(3), case.inputs(3)
    fixed = Served(forward, device=CPU, buckets=Buckets(rows=(3,)), graphs=True)
    fixed.warm_up(*inputs)
    (wanted,) = Served(forward, device=CPU)(*inputs)
    for _ in range(2):
        assert torch.allclose(fixed(*inputs)[0], wanted, atol=1e-5)


def test_what_fails_is_told_and_the_rest_is_measured() -> None:
    """A batch for which there is no memory, say, between two for which there is."""

    def forward(rows: int) -> Forward:
        def run(x: torch.Tensor) -> torch.Tensor:
            if rows == 2:
                raise torch.OutOfMemoryError("out of memory\nand much more about it")
            return x

        return run

    case = Case(name="greedy", forward=forward, inputs=lambda rows: (torch.zeros(rows),))
    effort = Effort(batches=(1, 2, 4), seconds=0)
    swept = sweep(case, CPU, ("eager",), effort, lambda line: None)
    assert [point.batch for point in swept.points] == [1, 4]
    assert swept.trouble == ("greedy, eager, batch 2 failed: out of memory",)


def test_a_measurement_is_bounded_in_time_and_in_number() -> None:
    calls: list[int] = []
    assert len(timed(lambda: calls.append(1), seconds=60, most=7)) == 7
    assert len(calls) == 10
    assert len(timed(lambda: None, seconds=0)) == 1


POINT = Point(
    model="encoder", mode="graphs", batch=8, ms=1.5, p90_ms=2, rows_per_s=5333, ready_s=0.4
)
REPORT = Report(
    date="2026-01-01",
    machine="a machine",
    device="cuda:0: a GPU",
    versions="torch 2",
    size="base",
    dtype="bfloat16",
    points=(POINT,),
    overhead=Overhead(bare_ms=2, through_ms=2.5, bare_rows_per_s=1000, through_rows_per_s=900),
)


def test_the_page_gets_the_tables_between_its_marks() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    text = written(page, REPORT)
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| encoder | graphs | 8 | 1.50 | 2.00 | 5,333 | 0.40 | – |" in text
    assert "| difference | +0.50 | x 0.90 |" in text


def test_the_documents_page_has_the_marks() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1
