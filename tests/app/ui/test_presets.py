"""Named settings in a folder."""

import json
from pathlib import Path

import pytest

from framepack.app.ui.presets import Presets


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    return Presets(tmp_path / "presets")


def test_a_preset_comes_back_as_it_was_saved(presets: Presets) -> None:
    presets.save("soft light", {"seed": 2**63 - 1, "prompt": "Grüße \U0001f305"})
    assert presets.names() == ["soft light"]
    assert presets.load("soft light") == {"seed": 2**63 - 1, "prompt": "Grüße \U0001f305"}


def test_renaming_keeps_the_star_and_never_replaces_another(presets: Presets) -> None:
    presets.save("a", {"steps": 1})
    presets.save("b", {"steps": 2})
    presets.start_with("a")
    with pytest.raises(ValueError, match="already"):
        presets.rename("a", "b")
    presets.rename("a", "c")
    assert presets.startup() == "c"
    assert presets.load("c") == {"steps": 1}
    presets.delete("c")
    assert presets.startup() is None


def test_an_export_is_what_an_import_takes(presets: Presets, tmp_path: Path) -> None:
    presets.save("a", {"steps": 1})
    presets.save("b", {"steps": 2})
    other = Presets(tmp_path / "other")
    assert other.take_in(json.dumps(presets.exported()), dict) == ["a", "b"]
    assert other.exported() == presets.exported()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": 1}', "nonsense", '{"../a": {}}'])
def test_a_file_of_something_else_is_refused_and_changes_nothing(presets: Presets, text: str) -> None:
    with pytest.raises(ValueError, match="preset"):
        presets.take_in(text, dict)
    assert presets.names() == []


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\\b", ".hidden", "a\0b", "x" * 61, "a\n", "a."])
def test_a_name_never_leads_out_of_the_folder(presets: Presets, name: str) -> None:
    for use in (presets.load, presets.delete, lambda name: presets.save(name, {})):
        with pytest.raises(ValueError, match="name has up to"):
            use(name)


def test_a_damaged_preset_is_said_and_does_not_hide_the_others(presets: Presets, tmp_path: Path) -> None:
    presets.save("good", {"steps": 1})
    (tmp_path / "presets" / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        presets.load("bad")
    assert presets.exported() == {"good": {"steps": 1}}
