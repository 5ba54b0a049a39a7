"""Sequences of unlike length through one causal model of transformers, a token each at a time.

    decoder = Decoder(model)
    row, logits = decoder.prefill([1, 5, 9])          # logits (vocabulary,)
    logits = decoder.advance([row, other], [7, 3])    # one pass for both: (2, vocabulary)
    decoder.drop(row)

Each row has its keys and values padded on the left to the longest of its rack, and a mask and
positions of its own, so the others do not change what a sequence sees. As long as the same rows
advance together their rack stays as it is; when one joins or leaves it is stacked anew, which costs
a copy of the cache. Not for several threads.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


class Row:
    """One sequence's place in a rack."""

    __slots__ = ("length", "rack")

    def __init__(self, length: int) -> None:
        self.length = length
        """Tokens that the model has seen of it."""
        self.rack: Rack | None = None


class Rack:
    """Rows that advance together. A layer's keys have shape (rows, heads, width, size of a head),
    and those of a row lie at the right end."""

    __slots__ = ("cache", "pads", "rows", "width")

    def __init__(self, rows: list[Row], width: int, cache: Any, device: torch.device) -> None:
        self.rows = rows
        self.width = width
        self.cache = cache
        self.pads = torch.tensor([width - row.length for row in rows], device=device)

    def place(self) -> None:
        """Takes its rows out of the racks in which they were."""
        for row in self.rows:
            row.rack = self


class Decoder:
    """A causal language model with an attention cache. Raises ValueError for one that keeps a
    state of another sort, which cannot be padded."""

    def __init__(self, model: Any) -> None:
        kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
        if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"{type(model).__name__} caches more than attention: {names}")
        self._model = model
        self._device = model.device
        known = inspect.signature(model.forward).parameters
        self._last_alone = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self._takes_positions = "position_ids" in known

    def prefill(self, ids: Sequence[int]) -> tuple[Row, torch.Tensor]:
        """A new row of these token numbers, and the logits (vocabulary,) of what follows them, as
        float32 on the model's device."""
        row = Row(0)
        rack = Rack([row], 0, DynamicCache(), self._device)
        logits = self._pass(rack, torch.tensor([list(ids)]))
        rack.place()
        return row, logits[0]

    def advance(self, rows: list[Row], tokens: Sequence[int]) -> torch.Tensor:
        """One more token for each row; the logits of what follows, (rows, vocabulary), as float32
        on the model's device. When it raises, every row is as it was."""
        rack = self._rack_of(rows)
        return self._pass(rack, torch.tensor(tokens).unsqueeze(1))

    def drop(self, row: Row) -> None:
        """Forgets the row; its memory is free when its rack is stacked anew, or has no row left."""
        rack, row.rack = row.rack, None
        if rack is not None and all(other.rack is not rack for other in rack.rows):
            rack.cache = None

    def _pass(self, rack: Rack, ids: torch.Tensor) -> torch.Tensor:
        new = ids.shape[1]
        before = [(layer.keys, layer.values) for layer in rack.cache.layers]
        try:
            with torch.inference_mode():
                logits = self._model(
                    input_ids=ids.to(self._device),
                    past_key_values=rack.cache,
                    use_cache=True,
                    **self._seen(rack, new),
                    **self._last_alone,
                ).logits
                found: torch.Tensor = logits[:, -1].float()
        except BaseException:
            for layer, (keys, values) in zip(rack.cache.layers, before, strict=False):
                layer.keys, layer.values = keys, values
            raise
        rack.width += new
        for row in rack.rows:
            row.length += new
        return found

    def _seen(self, rack: Rack, new: int) -> dict[str, torch.Tensor]:
        """The mask (rows, width + new) of what is no padding, and the positions (rows, new)."""
        places = torch.arange(rack.width + new, device=self._device)
        real = places >= rack.pads.unsqueeze(1)
        seen = {"attention_mask": real.long()}
        if self._takes_positions:
            seen["position_ids"] = places[-new:] - rack.pads.unsqueeze(1)
        return seen

    def _rack_of(self, rows: list[Row]) -> Rack:
        """The rack of these rows and no others, in their order. Others of the racks that they came
        from are stacked together, so that no row keeps the memory of those it stood beside."""
        first = rows[0].rack
        if first is not None and first.rows == rows:
            return first
        racks = {id(row.rack): row.rack for row in rows if row.rack is not None}
        staying = [
            row
            for rack in racks.values()
            for row in rack.rows
            if row.rack is rack and row not in rows
        ]
        rack, rest = self._stacked(rows), self._stacked(staying) if staying else None
        for stacked in (rack, rest):
            if stacked is not None:
                stacked.place()
        return rack

    def _stacked(self, rows: list[Row]) -> Rack:
        width, cache = max(row.length for row in rows), DynamicCache()
        with torch.inference_mode():
            for index in range(_layers(rows[0])):
                pairs = [_of_layer(row, index, width) for row in rows]
                keys, values = zip(*pairs, strict=True)
                cache.update(torch.cat(keys), torch.cat(values), index)
        return Rack(list(rows), width, cache, self._device)


def _layers(row: Row) -> int:
    assert row.rack is not None
    return len(row.rack.cache.layers)


def _of_layer(row: Row, index: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The row's keys and values in one layer, (1, heads, width, size), padded on the left."""
    rack = row.rack
    assert rack is not None
    layer, at = rack.cache.layers[index], rack.rows.index(row)
    padding = (0, 0, width - row.length, 0)
    own = slice(rack.width - row.length, rack.width)
    keys, values = (F.pad(t[at : at + 1, :, own], padding) for t in (layer.keys, layer.values))
    return keys, values
