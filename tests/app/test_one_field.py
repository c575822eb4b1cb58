"""A request with one more field has it on the command line, in OpenAPI, on the page and in the docs."""

import inspect
from pathlib import Path
from typing import Annotated, get_args

import pytest
import typer
from pydantic import Field
from typer.main import get_command
from typer.testing import CliRunner

from framepack.app.api.application import Application
from framepack.app.cli.main import app
from framepack.app.cli.request import with_fields
from framepack.app.reference import reference
from framepack.app.ui.controls import controls_of
from framepack.app.ui.widget_types import Slider
from framepack.caching import CACHES
from framepack.pipeline.load import load
from framepack.sampling import SAMPLERS
from framepack.spec.fields import fields_of, option
from framepack.spec.formats import CODECS, FORMATS, Codec, Format
from framepack.spec.machine import MachineOptions
from framepack.spec.parts import THRESHOLDS, CacheName, SamplerName
from framepack.spec.request import GenerationRequest

DOCS = Path(__file__).parents[2] / "docs"


class Grainy(GenerationRequest):
    """A request with one more field."""

    film_grain: Annotated[int, Field(ge=2, le=40, json_schema_extra=option("--grain", "-g"))] = 3
    """How much grain is laid over the video.

    Grain hides banding.
    """


def test_it_is_an_option_with_its_help_bound_and_default() -> None:
    made: list[dict] = []
    command = typer.Typer()

    @command.command()
    @with_fields(asked=Grainy)
    def make(asked: dict) -> None:
        made.append(asked)

    told = CliRunner().invoke(command, ["--help"], env={"COLUMNS": "200"}).output
    for words in (
        "--grain",
        "-g",
        "2..40",
        "How much grain is laid over the video. Grain hides banding.",
        "default: 3",
    ):
        assert words in told
    assert CliRunner().invoke(command, ["a.png", "--grain", "7"]).exit_code == 0
    assert CliRunner().invoke(command, ["a.png"]).exit_code == 0
    assert [asked.get("film_grain") for asked in made] == [7, None]


def test_its_bound_is_reported_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="film_grain") as caught:
        Grainy.model_validate({"image": "a.png", "film_grain": 50})
    assert str(caught.value) == "film_grain must be 2..40, got 50"


def test_openapi_has_it() -> None:
    schema = Application(title="t", version="1", request=Grainy).openapi()["components"]["schemas"]["Grainy"]
    field = schema["properties"]["film_grain"]
    assert (field["minimum"], field["maximum"], field["default"]) == (2, 40, 3)
    assert field["description"].startswith("How much grain")


def test_the_page_has_it() -> None:
    control = {one.field: one for one in controls_of(Grainy)}["film_grain"]
    assert (control.label, control.help, control.place) == (
        "Film grain",
        "How much grain is laid over the video.",
        "advanced",
    )
    assert control.widget == Slider(low=2, high=40, step=1)


def test_the_reference_has_it() -> None:
    row = "| `film_grain` | `--grain` `-g` | whole number | `2..40` | 3 | How much grain is laid over the video.<br>"
    assert row in reference(Grainy)


def test_the_reference_is_current() -> None:
    current = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert current == reference(GenerationRequest), "run `make reference`"


def test_every_field_says_what_it_does_and_no_two_have_an_option() -> None:
    fields = list(fields_of(GenerationRequest))
    assert all(field.summary.endswith(".") for field in fields)
    names = [name for field in fields for name in field.options]
    assert len(names) == len(set(names))
    for command in ("generate", "plan"):
        options = {name for one in get_command(app).commands[command].params for name in one.opts}  # type: ignore[attr-defined]
        assert {name for field in fields if not field.required for name in field.options} <= options


def test_choices_are_those_there_are() -> None:
    assert get_args(SamplerName) == tuple(SAMPLERS)
    assert get_args(CacheName) == tuple(CACHES) == tuple(THRESHOLDS)
    assert get_args(Format) == tuple(FORMATS)
    assert set(get_args(Codec)) == {name for row in FORMATS.values() if len(row.codecs) > 1 for name in row.codecs}
    assert {name for row in FORMATS.values() for name in row.codecs} == set(CODECS)


def test_what_a_model_may_use_of_the_machine_is_said_to_load_and_to_commands_alike() -> None:
    arguments = {name: one.default for name, one in inspect.signature(load).parameters.items() if name != "model"}
    assert arguments == {name: field.default for name, field in MachineOptions.model_fields.items()}
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for command in ("generate", "plan", "batch", "serve"):
        assert set(arguments) <= {one.name for one in commands[command].params}
