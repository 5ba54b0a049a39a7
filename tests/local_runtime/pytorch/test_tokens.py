"""Tokens are drawn as asked, and become text that never has to be taken back."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from local_runtime.pytorch.tokens import Draw, IncrementalText, pick


class Letters:
    """A tokenizer whose tokens are bytes."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return bytes(ids).decode(errors="replace")


def test_half_a_character_is_held_back_until_the_other_half_comes() -> None:
    """A reader never sees a broken one."""
    text = IncrementalText(Letters(), [])
    assert [text.add(byte) for byte in "aé🙂".encode()] == ["a", "", "é", "", "", "", "🙂"]
    assert text.rest() == ""


def test_the_beginning_of_a_stop_is_said_once_it_turns_out_to_be_none() -> None:
    """ModelStatus back for as long as it could still become one."""
    text = IncrementalText(Letters(), ["END"])
    assert [text.add(byte) for byte in b"xENO"] == ["x", "", "", "ENO"]
    assert [text.add(byte) for byte in b"EN"] == ["", ""]
    assert text.rest() == "EN"


class Words:
    """A tokenizer whose tokens are words, with a space before each but the first."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return " ".join(chr(97 + id) for id in ids)


def test_a_space_that_depends_on_the_token_before_is_not_lost() -> None:
    """Though only the last few tokens are decoded again."""
    text = IncrementalText(Words(), [])
    assert "".join(text.add(id) for id in range(5)) + text.rest() == "a b c d e"


class Counted(Letters):
    """Counts what it is asked to decode."""

    longest = 0

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        self.longest = max(self.longest, len(ids))
        return super().decode(ids, skip_special_tokens=skip_special_tokens)


def test_a_long_text_is_not_decoded_anew_for_each_token() -> None:
    """A token and the one before."""
    tokenizer = Counted()
    text = IncrementalText(tokenizer, ["stop"])
    for byte in b"no end " * 50:
        text.add(byte)
    assert tokenizer.longest == 2


@given(
    data=st.text(alphabet="abé🙂", max_size=30).map(str.encode) | st.binary(max_size=30),
    stops=st.lists(st.text(alphabet="abé", min_size=1, max_size=3), max_size=3),
)
def test_the_pieces_are_the_whole_text_up_to_its_first_stop(data: bytes, stops: list[str]) -> None:
    """The first to be complete, whatever the bytes: broken ones as well."""
    text, pieces = IncrementalText(Letters(), stops), []
    for byte in data:
        pieces.append(text.add(byte))
        if text.stopped:
            break
    pieces.append(text.rest())
    whole = data.decode(errors="replace")
    found = [(at + len(stop), at) for stop in stops if (at := whole.find(stop)) >= 0]
    assert "".join(pieces) == whole[: min(found, default=(0, len(whole)))[1]]
    assert text.stopped == bool(found)


LUCK = [number / 200 for number in range(200)]


def drawn(logits: list[float], temperature: float, top_p: float) -> list[int]:
    """What every luck draws, all in one pass."""
    rows = torch.tensor([logits] * len(LUCK))
    return pick(rows, [Draw(temperature, top_p, luck) for luck in LUCK])


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """A half, a quarter, a quarter, and none that has no chance, at either end."""
    logits = [float("-inf"), *torch.tensor([0.5, 0.25, 0.25]).log().tolist(), float("-inf")]
    picked = drawn(logits, 1.0, 1.0)
    assert [picked.count(token) for token in range(5)] == [0, 100, 50, 50, 0]
    cold = drawn(logits, 0.5, 1.0)
    assert 130 < cold.count(1) < 136  # squared and made to add up: two thirds


def test_top_p_leaves_only_the_likeliest() -> None:
    """As many as it takes, and one at least."""
    logits = torch.tensor([0.2, 0.5, 0.3]).log().tolist()
    assert set(drawn(logits, 1.0, 0.4)) == {1}
    assert set(drawn(logits, 1.0, 0.6)) == {1, 2}
    assert set(drawn(logits, 1.0, 0.95)) == {0, 1, 2}


def test_at_temperature_zero_the_likeliest_is_taken_whatever_the_luck() -> None:
    """And top_p changes nothing."""
    assert set(drawn([0.0, 1.0, 0.5], 0.0, 1.0)) == {1}
    assert set(drawn([0.0, 1.0, 0.5], 0.0, 0.3)) == {1}


def test_at_a_temperature_near_zero_the_likeliest_is_taken_too() -> None:
    """Though its logit, divided by such a number, is none that a float can hold."""
    for top_p in (1.0, 0.5):
        assert set(drawn([0.0, 80.0, 79.0, float("-inf")], 1e-38, top_p)) == {1}


def test_a_row_is_drawn_the_same_in_any_company() -> None:
    """Each in its own manner, in one pass or alone."""
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    draws = [Draw(t, p, 0.7) for t in (0.0, 1.0, 2.0) for p in (1.0, 0.5)]
    alone = [pick(logits[row : row + 1], [draw])[0] for row, draw in enumerate(draws)]
    assert pick(logits, draws) == alone
