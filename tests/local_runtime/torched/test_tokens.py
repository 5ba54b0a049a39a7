"""Tokens are drawn as asked, and become text that never has to be taken back."""

from __future__ import annotations

import torch

from local_runtime.torched.tokens import Text, pick


class Letters:
    """A tokenizer whose tokens are bytes."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return bytes(ids).decode(errors="replace")


def test_half_a_character_is_held_back_until_the_other_half_comes() -> None:
    """A reader never sees a broken one."""
    text = Text(Letters(), [])
    assert [text.add(byte) for byte in "aé🙂".encode()] == ["a", "", "é", "", "", "", "🙂"]
    assert text.rest() == ""


def test_the_beginning_of_a_stop_is_said_once_it_turns_out_to_be_none() -> None:
    """Held back for as long as it could still become one."""
    text = Text(Letters(), ["END"])
    assert [text.add(byte) for byte in b"xENO"] == ["x", "", "", "ENO"]
    assert [text.add(byte) for byte in b"EN"] == ["", ""]
    assert text.rest() == "EN"


def test_top_p_leaves_only_the_likeliest() -> None:
    """Whatever the seed."""
    logits = torch.tensor([0.0, 5.0, 1.0])
    picked = {pick(logits, None, 0.5, torch.Generator().manual_seed(seed)) for seed in range(30)}
    assert picked == {1}


def test_at_temperature_zero_the_likeliest_is_taken_whatever_the_seed() -> None:
    """And above it, others have their chance."""
    logits, seeds = torch.tensor([0.0, 1.0, 0.5]), range(30)
    for temperature, expected in ((0.0, {1}), (1.0, {0, 1, 2})):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        picked = {pick(logits, temperature, None, random) for random in generators}
        assert picked == expected
