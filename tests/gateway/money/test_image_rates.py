"""What images cost by their size and quality: held by what is asked, charged by what was made."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from adapters.types import ImageKind, Usage
from gateway.money.charge_records import price_of
from gateway.money.pricing import Expectation, charge, estimate
from gateway.money.tariffs import Tariff, settled_by
from gateway.policy.reader import PolicyError, read_policy_text
from gateway.policy.sections.price import DatedPrices, DeviceRates, ImageRates, Price

A_MINUTE_BEFORE = datetime.datetime(2026, 11, 30, 23, 59, tzinfo=datetime.UTC).timestamp()
BY_IMAGE = Price(
    per_image=40,
    by_device=(DeviceRates(device="A100", per_image=35),),
    by_image=(
        ImageRates(size="1024x1024", quality="high", per_image=160),
        ImageRates(size="1024X1024", per_image=50),
        ImageRates(quality="high", per_image=250),
    ),
)


@pytest.mark.parametrize(
    ("size", "quality", "rate", "sure"),
    [
        pytest.param("1024x1024", "high", 160, True, id="both"),
        pytest.param("1024x1024", "low", 50, True, id="its size alone"),
        pytest.param("512x512", "high", 250, True, id="its quality alone"),
        pytest.param("512x512", "low", 40, True, id="neither is listed"),
        pytest.param("1024x1024", "", 160, False, id="the quality is not said"),
        pytest.param("512x512", "", 250, False, id="another size without a quality"),
        pytest.param("", "high", 250, False, id="the size is not said"),
        pytest.param("", "", 250, False, id="nothing is said"),
    ],
)
def test_an_image_is_charged_by_what_it_is_and_by_the_dearest_that_it_may_be(
    size: str, quality: str, rate: int, *, sure: bool
) -> None:
    in_force = Tariff(DatedPrices.of((BY_IMAGE,))).constant
    assert in_force is not None
    kind, used = ImageKind(size, quality), Usage(images=2, device="A100")
    answered = msgspec.structs.replace(used, image=kind)
    for found, settled in (settled_by(in_force, used, kind), settled_by(in_force, answered)):
        rate = 35 if rate == 40 else rate  # what no entry names costs what its device does
        assert (charge(found.price, settled), settled.estimated) == (2 * rate, not sure)
        assert found.record.figures["per_image"] == rate
        assert charge(price_of(found.record), settled) == 2 * rate
    expected = Expectation(0, 0, 0, 0, 0, 0, images=2, image=kind)
    assert estimate(in_force.price, expected, in_force.dearest).hold == 2 * max(rate, 40 * sure)


def test_what_an_answer_says_of_its_images_goes_before_what_was_asked() -> None:
    in_force = Tariff(DatedPrices.of((BY_IMAGE,))).constant
    assert in_force is not None
    made = Usage(images=1, device="A100", image=ImageKind(quality="low"))
    found, used = settled_by(in_force, made, ImageKind("1024x1024", "high"))
    assert (charge(found.price, used), used.estimated) == (50, False)


def test_an_image_is_held_for_by_both_prices_where_the_price_changes_meanwhile() -> None:
    listed = (ImageRates(size="2x2", per_image=9),)
    old = Price(per_image=1, by_image=listed, source="test", as_of="2026-11-01")
    new = Price(per_image=2, source="test", as_of="2026-12-01")
    found = Tariff(DatedPrices.of((old, new))).at(A_MINUTE_BEFORE, 600.0)
    assert found is not None
    assert (found.dearest.per_image, found.dearest.by_image) == (9, ())


@pytest.mark.parametrize(
    ("price", "wrong"),
    [
        pytest.param("{per_call: 1, by_image: [{size: a, per_image: 1}]}", "no per_image", id="no"),
        pytest.param("{per_image: 1, by_image: [{per_image: 1}]}", "needs size", id="of nothing"),
        pytest.param("{per_image: 1, by_image: [{size: Auto, per_image: 1}]}", "'auto'", id="auto"),
        pytest.param(
            "{per_image: 1, by_image: [{size: a, per_image: 1}, {size: A, per_image: 2}]}",
            "never holds",
            id="shadowed",
        ),
        pytest.param(
            '{per_image: 1, by_image: [{size: "512*512", per_image: 1}]}',
            "is no image's: write 512x512",
            id="other words for a size",
        ),
        pytest.param(
            "{per_image: 1, by_image: [{quality: hihg, per_image: 1}]}",
            "quality: 'hihg' is no image's; allowed: low, medium, high",
            id="an unknown quality",
        ),
    ],
)
def test_prices_of_images_that_cannot_be_meant_are_refused(price: str, wrong: str) -> None:
    with pytest.raises(PolicyError, match=wrong):
        read_policy_text(f"version: 1\nprices:\n  media: {price}\n", environ={})
