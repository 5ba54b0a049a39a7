"""Which devices each worker sees, on machines that are only declared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_runtime.supervisor.placement import Placement, placements, present_devices


@pytest.mark.parametrize(
    ("workers", "present", "visible"),
    [
        (1, "0 1", ["0,1"]),
        (2, "0 1", ["0", "1"]),
        (2, "0 1 2 3", ["0,2", "1,3"]),
        (3, "0 1", ["0", "1", "0"]),
        (2, "GPU-a GPU-b", ["GPU-a", "GPU-b"]),
    ],
)
def test_auto_deals_the_devices_out_to_the_workers(
    workers: int, present: str, visible: list[str]
) -> None:
    dealt = placements(workers, "auto", present.split())
    assert [placement.visible for placement in dealt] == visible
    assert {placement.device for placement in dealt} == {"auto"}


def test_a_worker_with_a_device_of_its_own_sees_it_as_the_first() -> None:
    """And no other, so nothing that allocates on the first device takes a neighbour's memory."""
    assert placements(3, "cuda:2, cuda:0", ["0", "1", "GPU-c"]) == (
        Placement(device="cuda:0", visible="GPU-c"),
        Placement(device="cuda:0", visible="0"),
        Placement(device="cuda:0", visible="GPU-c"),
    )


def test_a_worker_on_the_cpu_sees_no_device() -> None:
    assert placements(1, "cpu", ["0"]) == (Placement(device="cpu", visible=""),)


@pytest.mark.parametrize("device", ["auto", "cuda:0", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_left_to_the_app(device: str) -> None:
    """It says best what is missing."""
    assert placements(1, device, []) == (Placement(device=device),)


@given(
    workers=st.integers(1, 20),
    present=st.lists(st.integers(0, 99).map(str), unique=True, min_size=1, max_size=20),
)
def test_every_worker_has_a_device_and_every_device_a_worker(
    workers: int, present: list[str]
) -> None:
    """Nobody has more than one more than a neighbour; with enough devices nobody shares."""
    dealt = [
        str(placement.visible).split(",") for placement in placements(workers, "auto", present)
    ]
    assert {device for own in dealt for device in own} == set(present)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    if len(present) >= workers:
        assert sum(map(len, dealt)) == len(present)


@pytest.mark.parametrize(
    ("named", "devices"),
    [
        (None, ("0", "1")),
        ("1", ("1",)),
        ("", ()),
        ("GPU-a, GPU-b", ("GPU-a", "GPU-b")),
        ("0,-1,1", ("0",)),
    ],
)
def test_the_environment_says_which_devices_may_be_used(
    named: str | None, devices: tuple[str, ...]
) -> None:
    environment = {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    assert present_devices(environment, 2) == devices
