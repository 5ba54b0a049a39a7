"""The benchmark of the kinds, and what its stand-in can count that no timing is needed for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.adapters import Figures, bytes_of, main, verdicts, write
from benchmarks.platforms import PLATFORMS, answering, backend_of, call_of

GOOD = Figures(name="cog", raw_ms=0.1, kind_ms=0.12, cpu_us={1: 40.0, 200: 20.0})


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_kind_makes_one_exchange_a_call_over_connections_that_it_keeps(name: str) -> None:
    """400 calls, 40 at a time: a client of its own for each call would make 400 connections."""
    async with answering() as (address, counts):
        backend = backend_of(name, address)
        await backend.start()

        async def caller(number: int) -> None:
            for step in range(10):
                reply = await backend.invoke(call_of(name, f"call-{number}-{step}"))
                assert reply.body

        await asyncio.gather(*(caller(number) for number in range(40)))
        await backend.aclose()
        assert counts.requests[name] == sum(counts.requests.values()) == 400
        assert counts.connections <= 40


@pytest.mark.parametrize("name", PLATFORMS)
async def test_calls_past_the_bound_of_the_pool_wait_for_its_connections(name: str) -> None:
    async with answering() as (address, counts):
        backend = backend_of(name, address, max_connections=5)
        await backend.start()
        await asyncio.gather(
            *(backend.invoke(call_of(name, f"call-{number}")) for number in range(200))
        )
        await backend.aclose()
        assert counts.requests[name] == 200
        assert counts.connections <= 5


async def test_the_bare_exchange_sends_the_bytes_of_the_kind() -> None:
    head, body = await bytes_of("openai")
    assert head.startswith(b"POST /openai/v1/chat/completions HTTP/1.1\r\n")
    assert b"content-length" not in head.lower()
    assert body == PLATFORMS["openai"].body


def test_it_measures_what_it_is_asked_to_and_writes_it_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    marks = [
        "<!-- adapter figures: begin, written by python -m benchmarks.adapters --markdown -->",
        "<!-- adapter figures: end -->",
    ]
    page.write_text("before\n" + "\n".join(marks) + "\nafter\n")
    assert main(["--calls", "200", "--only", "openai,cog", "--markdown", str(page)]) in (0, 1)
    shown = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in shown.splitlines()[2:4]] == ["| `openai`", "| `cog`"]
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert all(line in written for line in shown.splitlines()[:4])


def test_a_page_without_a_place_for_the_figures_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    with pytest.raises(ValueError, match="no place"):
        write(page, "figures")
    assert page.read_text() == "nothing here\n"


def test_a_target_that_is_missed_is_named() -> None:
    slow = Figures(name="slow", raw_ms=0.1, kind_ms=0.7, cpu_us={1: 40.0, 200: 20.0})
    steep = Figures(name="steep", raw_ms=0.1, kind_ms=0.2, cpu_us={1: 40.0, 200: 100.0})
    assert verdicts([GOOD]) == []
    assert [line.split()[0] for line in verdicts([GOOD, slow, steep])] == ["slow", "steep"]
