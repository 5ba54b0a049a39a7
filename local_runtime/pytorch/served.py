"""A model made ready to answer: on its device, without gradients, in fixed shapes where that pays.

model = Served(module, buckets=Buckets(rows=doubling(32)))
model.warm_up(torch.zeros(1, 3, 224, 224))
(logits,) = model(images)                       # images (n, 3, 224, 224), n as it comes
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch

from local_runtime.pytorch.buckets import Buckets, Shape
from local_runtime.pytorch.devices import Device, Recording, Tensors, device_for

Forward = Callable[..., torch.Tensor | Tensors]

Compiler = str | Callable[..., Any]
"""A backend of ``torch.compile``, or its name."""

COMPILED_BEFORE_GIVING_UP = 8
"""The default of ``torch._dynamo.config.recompile_limit``."""


class Served:
    """Calls ``forward`` with tensors of the host and returns tensors of the host.

    All inputs and outputs have the batch as their first dimension. ``forward`` gets them on the
    device and returns a tensor or a tuple of them; it must be a function of its inputs alone.

    ``device``: where it runs, or a ``Device`` that says how; left out, ``device_of()``.

    ``buckets``: a batch is padded to the smallest shape that holds it, and one above the largest
    runs as it is. Rows are padded with copies of the first, so that no padding is an input that
    could not have come; the second dimension (``buckets.lengths``), of every input that has one,
    with zeros, so a model needs a mask among its inputs. Rows are cut off the outputs again; what
    is left of a padded length is the caller's to cut.

    ``graphs``: a CUDA graph for each shape, captured by ``warm_up``; left out, wherever there are
    CUDA and buckets. True elsewhere replays by running again.
    ``compiled``: through ``torch.compile``, for each shape or, without buckets, for all at once; by
    inductor, where no other backend is given. ``autocast``: the dtype of mixed precision.

    May be called from several threads; one runs at a time. Raises ValueError for ``graphs`` without
    buckets, and as ``device_of`` does.
    """

    def __init__(
        self,
        forward: Forward,
        *,
        device: torch.device | Device | None = None,
        buckets: Buckets | None = None,
        graphs: bool | None = None,
        compiled: bool | Compiler = False,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._device = device_for(device)
        self.device = self._device.torch_device
        self._buckets = buckets
        self._graphs = self.device.type == "cuda" if graphs is None else graphs
        if graphs and buckets is None:
            raise ValueError("graphs replay fixed shapes: give buckets")
        self._forward = _compiled(forward, compiled, buckets) if compiled else forward
        self._fixed = buckets is not None and bool(self._graphs or compiled)
        # What fits no shape would be compiled anew each time.
        self._freely = forward if self._fixed else self._forward
        self._autocast = autocast
        self._captured: dict[Shape, CapturedShape] = {}
        self._lock = threading.Lock()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Those that are ready: recorded, or run once. Largest first."""
        return tuple(self._captured)

    def warm_up(self, *sample: torch.Tensor) -> None:
        """Makes every shape ready. ``sample``: inputs of at least one row, whose dimensions but
        the padded ones are those of all inputs to come. Without buckets it runs once."""
        with self._lock:
            if self._buckets is None or not self._fixed:
                self._eager(sample)
                return
            for shape in self._buckets.largest_first():
                self._captured[shape] = self._capture(shape, sample)

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """The outputs for inputs (rows, ...), as tensors of the CPU that the caller may keep."""
        with self._lock:
            captured = self._captured_for(inputs)
            return self._eager(inputs) if captured is None else captured.run(inputs, self._device)

    def _captured_for(self, inputs: Tensors) -> CapturedShape | None:
        """What was captured for the batch's shape; None before the warm-up, above the largest
        shape, and for inputs that are not as the sample was."""
        if self._buckets is None or not self._captured:
            return None
        first = inputs[0]
        length = first.shape[1] if self._buckets.lengths else None
        shape = self._buckets.fit(first.shape[0], length)
        captured = None if shape is None else self._captured[shape]
        return captured if captured is not None and captured.holds(inputs, length) else None

    def _eager(self, inputs: Tensors) -> Tensors:
        with self._running():
            outputs = _tuple(self._freely(*(each.to(self.device) for each in inputs)))
            return tuple(output.cpu() for output in outputs)

    def _capture(self, shape: Shape, sample: Tensors) -> CapturedShape:
        shapes = [_padded(tuple(each.shape), shape) for each in sample]
        captured = CapturedShape(shapes, [each.dtype for each in sample], self._device)
        row = tuple(
            each[(slice(1), *map(slice, size[1:]))]
            for each, size in zip(sample, shapes, strict=True)
        )
        captured.fill(row)
        work = partial(self._on, captured.inputs)
        captured.record(work, self._device) if self._graphs else captured.use(work)
        captured.run(row, self._device)
        return captured

    def _on(self, inputs: Tensors) -> Tensors:
        with self._running():
            return _tuple(self._forward(*inputs))

    @contextmanager
    def _running(self) -> Iterator[None]:
        with torch.inference_mode():
            if self._autocast is None:
                yield
                return
            # Its cache would keep casts of weights that a graph made in its own memory.
            with torch.autocast(self.device.type, dtype=self._autocast, cache_enabled=False):
                yield


class CapturedShape:
    """The memory of one shape: staging on the host, inputs on the device, and what runs on them.

    Copies to and from the device are asked for and not waited for; ``run`` waits once, at its
    end, so the staging is free again whenever it returns.
    """

    def __init__(
        self, shapes: list[tuple[int, ...]], dtypes: list[torch.dtype], device: Device
    ) -> None:
        pairs = list(zip(shapes, dtypes, strict=True))
        self._staged = tuple(device.staging(shape, dtype) for shape, dtype in pairs)
        self.inputs: Tensors = tuple(
            torch.zeros(shape, dtype=dtype, device=device.torch_device) if device.apart else staged
            for (shape, dtype), staged in zip(pairs, self._staged, strict=True)
        )
        self._work: Callable[[], Tensors] = tuple
        self._results: Tensors = ()

    def record(self, work: Callable[[], Tensors], device: Device) -> None:
        """From now on ``run`` replays a recording of ``work``."""
        self.use(partial(_replayed, device.record(work)))

    def use(self, work: Callable[[], Tensors]) -> None:
        """From now on ``run`` runs ``work``, which reads ``inputs``."""
        self._work = work

    def holds(self, inputs: Tensors, length: int | None) -> bool:
        """All inputs fit, in dtype and in every dimension: in those that are padded, which is the
        first and, where batches have a ``length``, the second, they may be smaller."""
        padded = 1 if length is None else 2
        return len(inputs) == len(self.inputs) and all(
            given.dtype == held.dtype
            and given.dim() == held.dim()
            and given.shape[padded:] == held.shape[padded:]
            and all(a <= b for a, b in zip(given.shape, held.shape, strict=True))
            for given, held in zip(inputs, self.inputs, strict=True)
        )

    def run(self, inputs: Tensors, device: Device) -> Tensors:
        """The outputs for a batch that ``holds``, (rows, ...), which are the caller's to keep."""
        rows = inputs[0].shape[0]
        self.fill(inputs)
        outputs = self._work()
        if not device.apart:
            return tuple(output[:rows].clone() for output in outputs)
        if not self._results:
            self._results = tuple(device.staging(tuple(o.shape), o.dtype) for o in outputs)
        for result, output in zip(self._results, outputs, strict=True):
            result[:rows].copy_(output[:rows], non_blocking=True)
        device.finish()
        return tuple(result[:rows].clone() for result in self._results)

    def fill(self, inputs: Tensors) -> None:
        """The batch and its padding, by way of the staging, to the device."""
        for staged, held, given in zip(self._staged, self.inputs, inputs, strict=True):
            rows = given.shape[0]
            if given.dim() > 1 and given.shape[1] < staged.shape[1]:
                staged[:rows, given.shape[1] :].zero_()
                staged[:rows, : given.shape[1]].copy_(given)
            else:
                staged[:rows].copy_(given)
            if rows < staged.shape[0]:
                staged[rows:].copy_(staged[:1].expand_as(staged[rows:]))
            if held is not staged:
                held.copy_(staged, non_blocking=True)


def _compiled(forward: Forward, backend: bool | Compiler, buckets: Buckets | None) -> Forward:
    options: dict[str, Any] = {} if backend is True else {"backend": backend}
    if buckets is None:
        return cast("Forward", torch.compile(forward, dynamic=True, **options))
    shapes = len(list(buckets.largest_first()))
    # torch gives up on a function that it has compiled eight times, and then runs it as it is.
    # Only for more does it need to know the option, which its older releases do not.
    if shapes > COMPILED_BEFORE_GIVING_UP:
        options["recompile_limit"] = shapes
    return cast("Forward", torch.compile(forward, dynamic=False, **options))


def _replayed(recording: Recording) -> Tensors:
    recording.replay()
    return recording.outputs


def _padded(given: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    if shape.length is None or len(given) < 2:
        return (shape.rows, *given[1:])
    return (shape.rows, shape.length, *given[2:])


def _tuple(outputs: torch.Tensor | Tensors) -> Tensors:
    return outputs if isinstance(outputs, tuple) else (outputs,)
