"""What a field says of itself is read off the model; a value out of bounds is told with both bounds and the way out."""

import math
from typing import Annotated

import pytest
from pydantic import Field

from framepack.spec.fields import fields_of
from framepack.spec.model import Model, RequestError
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


class Numbers(Model):
    """Fields with all kinds of bounds."""

    free: float = 0.0
    """Any."""
    low: Annotated[int, Field(ge=1)] = 1
    """From 1 on.

    And more.
    """
    side: Annotated[int | None, Field(ge=32, le=4096, multiple_of=16)] = None
    """A side."""
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    """Several."""


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"free": math.nan}, "free must be a finite number, got nan"),
        ({"low": 0}, "low must be 1.., got 0"),
        ({"side": 100}, "side must be a multiple of 16, got 100; try 96 or 112"),
        ({"side": 10}, "side must be a multiple of 16 in 32..4096, got 10; try 32"),
        ({"side": 10**9}, "side must be a multiple of 16 in 32..4096, got 1000000000; try 4096"),
        ({"shares": [0.5, 2]}, "shares must be 0..1, got 2"),
    ],
)
def test_a_number_out_of_bounds_is_told_with_them_and_the_way_out(values: dict, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        Numbers.model_validate(values)
    assert str(caught.value) == sentence


def test_a_field_tells_its_range_and_help() -> None:
    fields = {field.name: field for field in fields_of(Numbers)}
    assert [field.range for field in fields.values()] == ["", "1..", "32..4096", "0..1"]
    assert (fields["low"].summary, fields["low"].help) == ("From 1 on.", "From 1 on.\n\nAnd more.")
    assert fields["shares"].many


def test_parts_without_a_written_form_are_their_fields() -> None:
    names = [field.name for field in fields_of(GenerationRequest)]
    assert "output.crf" in names
    assert "output" not in names
    assert next(field.kind for field in fields_of(GenerationRequest) if field.name == "image") is Picture
