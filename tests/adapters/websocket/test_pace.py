"""How many frames may come in a second, and which of them say nothing."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from adapters.websocket.pace import Noise, Pace
from gateway.clock import FakeClock


async def test_a_rest_earns_so_many_at_once_and_no_more(clock: FakeClock) -> None:
    pace = Pace(10, 20, clock.monotonic)
    await clock.advance(100)
    for _ in range(20):
        assert pace.wait_s() == 0
        pace.spend()
    assert pace.wait_s() == pytest.approx(0.1)
    await clock.advance(0.2)
    assert pace.wait_s() == 0


@pytest.mark.parametrize(
    ("frame", "is_noise"),
    [
        pytest.param(Frame(Opcode.PING, b"p"), True, id="a ping"),
        pytest.param(Frame(Opcode.PONG, b""), True, id="a pong"),
        pytest.param(Frame(Opcode.TEXT, b""), True, id="an empty message"),
        pytest.param(Frame(Opcode.CONT, b"", fin=False), True, id="an empty part"),
        pytest.param(Frame(Opcode.CONT, b""), False, id="the empty end of a message"),
        pytest.param(Frame(Opcode.TEXT, b"x"), False, id="a message"),
        pytest.param(Frame(Opcode.CONT, b"x", fin=False), False, id="a part"),
    ],
)
def test_frames_that_say_nothing_are_counted(
    frame: Frame, is_noise: bool, clock: FakeClock
) -> None:
    noise = Noise(clock.monotonic)
    assert any(noise.is_too_much(frame) for _ in range(1000)) is is_noise
