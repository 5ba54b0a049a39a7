"""The choice of a device, and what stands in for a graph where there is none."""

from __future__ import annotations

import pytest
import torch

from local_runtime.pytorch.devices import PlainDevice, choose, device_for, device_of


@pytest.mark.parametrize(
    ("wanted", "cuda", "mps", "chosen"),
    [
        ("auto", 2, True, "cuda:0"),
        ("auto", 0, True, "mps"),
        ("auto", 0, False, "cpu"),
        ("cuda", 1, False, "cuda:0"),
        ("cuda:1", 2, False, "cuda:1"),
        ("cpu", 8, True, "cpu"),
        ("mps", 0, True, "mps"),
    ],
)
def test_the_best_device_is_chosen_unless_one_is_named(
    wanted: str, cuda: int, mps: bool, chosen: str
) -> None:
    assert choose(wanted, cuda=cuda, mps=mps) == chosen


@pytest.mark.parametrize(
    ("wanted", "there"),
    [("cuda:2", "cuda:0, cuda:1, cpu"), ("mps", "cuda:0, cuda:1, cpu"), ("tpu", "cpu")],
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(wanted: str, there: str) -> None:
    with pytest.raises(ValueError, match=there):
        choose(wanted, cuda=2, mps=False)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="is no device"):
        choose("cuda:first", cuda=1, mps=False)


def test_the_runtimes_device_is_used_and_an_explicit_one_goes_before_it() -> None:
    assert device_of(None, {"SPILLGATE_DEVICE": "cpu"}) == torch.device("cpu")
    assert device_of("cpu", {"SPILLGATE_DEVICE": "cuda:99"}) == torch.device("cpu")
    with pytest.raises(ValueError, match="cuda:99"):
        device_of(None, {"SPILLGATE_DEVICE": "cuda:99"})


def test_a_recording_on_the_cpu_does_the_work_again_into_the_same_memory() -> None:
    device = device_for(torch.device("cpu"))
    assert isinstance(device, PlainDevice)
    source = torch.ones(2)
    recording = device.record(lambda: (source * 2,))
    kept = recording.outputs[0]
    source.fill_(5)
    assert kept.tolist() == [2, 2]
    recording.replay()
    assert recording.outputs[0] is kept
    assert kept.tolist() == [10, 10]
