"""Tokens are the same alone and in company, on the real transformers path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from local_runtime.pytorch.decoding import Decoder, Row

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(vocab_size=60, **SIZES, **HEADS))


def mistral() -> Any:
    """With a window of six tokens, which these sequences outgrow."""
    return MistralForCausalLM(MistralConfig(vocab_size=60, sliding_window=6, **SIZES, **HEADS))


def gpt2() -> Any:
    """With learned positions instead of rotated ones."""
    return GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4))


@pytest.fixture(scope="module", params=[llama, mistral, gpt2])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return request.param().eval()


def prompt(number: int) -> list[int]:
    """Of any length from 1 to 13."""
    return [(number * 11 + at * 7) % 60 for at in range(1 + number * 5 % 13)]


def alone(model: Any, ids: list[int]) -> torch.Tensor:
    """What follows, from the whole sequence in one pass without a cache."""
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return logits


def agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(one, other, atol=1e-5, rtol=1e-5))


class Play:
    """Sequences that come, go and rest as a test says; each pass is checked against each sequence
    alone."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.decoder = Decoder(model)
        self.there: list[tuple[Row, list[int]]] = []

    def join(self, number: int) -> None:
        ids = prompt(number)
        row, logits = self.decoder.prefill(ids)
        assert agree(logits, alone(self.model, ids))
        self.there.append((row, ids))

    def leave(self, number: int) -> None:
        if self.there:
            row, _ = self.there.pop(number % len(self.there))
            self.decoder.drop(row)

    def advance(self, resting: int | None = None) -> None:
        """All but one of them, where one rests."""
        present = [pair for at, pair in enumerate(self.there) if at != resting]
        if present:
            tokens = [(len(ids) * 13 + 5) % 60 for _, ids in present]
            found = self.decoder.advance([row for row, _ in present], tokens)
            for logits, token, (row, ids) in zip(found, tokens, present, strict=True):
                ids.append(token)
                assert row.length == len(ids)
                assert agree(logits, alone(self.model, ids))


moves = st.lists(
    st.tuples(st.sampled_from(["join", "join", "leave", "advance", "rest"]), st.integers(0, 12)),
    max_size=14,
)


@settings(deadline=None, max_examples=12)
@given(moves=moves)
def test_company_changes_no_sequence(model: Any, moves: list[tuple[str, int]]) -> None:
    """Whoever joins, leaves or rests meanwhile."""
    play = Play(model)
    for move, number in moves:
        if move == "join":
            play.join(number)
        elif move == "leave":
            play.leave(number)
        else:
            play.advance(number % 4 if move == "rest" else None)
    play.advance()


def test_rows_that_stay_together_are_not_copied() -> None:
    """Their rack is the same object; a row that leaves, or rests, breaks it up."""
    decoder = Decoder(llama().eval())
    rows = [decoder.prefill(prompt(number))[0] for number in range(3)]
    decoder.advance(rows, [1, 2, 3])
    rack = rows[0].rack
    decoder.advance(rows, [1, 2, 3])
    assert rows[0].rack is rows[1].rack is rows[2].rack is rack
    decoder.advance(rows[:2], [1, 2])
    assert rows[0].rack is rows[1].rack is not rack
    assert rows[2].rack not in (rack, rows[0].rack)


def test_what_is_dropped_is_forgotten_with_the_last_of_its_rack() -> None:
    """No cache without a sequence."""
    decoder = Decoder(llama().eval())
    rows = [decoder.prefill(prompt(number))[0] for number in range(2)]
    decoder.advance(rows, [1, 2])
    rack = rows[0].rack
    assert rack is not None
    for row in rows:
        assert rack.cache is not None
        decoder.drop(row)
    assert rack.cache is None


def test_a_pass_that_fails_half_way_leaves_every_row_as_it_was() -> None:
    """The first layer has cached the token by then; the next try does not see it twice."""
    torch.manual_seed(0)
    model = llama().eval()
    decoder = Decoder(model)
    ids = [prompt(3), prompt(4)]
    rows = [decoder.prefill(one)[0] for one in ids]
    layer = model.model.layers[1]

    def no_room(*inputs: Any) -> None:
        raise MemoryError

    for _ in range(2):
        broken = layer.register_forward_pre_hook(no_room)
        with pytest.raises(MemoryError):
            decoder.advance(rows, [7, 8])
        broken.remove()
        for one, token in zip(ids, [7, 8], strict=True):
            one.append(token)
        found = decoder.advance(rows, [7, 8])
        assert all(agree(a, alone(model, b)) for a, b in zip(found, ids, strict=True))


def test_a_model_whose_state_cannot_be_padded_is_refused_by_name() -> None:
    """Before it serves anybody a wrong answer."""
    config = MambaConfig(vocab_size=60, hidden_size=32, num_hidden_layers=1, state_size=4)
    with pytest.raises(ValueError, match="MambaForCausalLM caches more than attention"):
        Decoder(MambaForCausalLM(config))
