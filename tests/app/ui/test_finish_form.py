"""The page's form for videos that are there: every field once, with what the field itself says."""

from framepack.app.service.finishings import FileWork
from framepack.app.ui.finish_form import GROUPS, SOURCE, form
from framepack.spec.formats import FORMATS


def test_every_field_of_a_file_s_work_has_one_place() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert sorted([*names, SOURCE]) == sorted(FileWork.model_fields)


def test_fields_say_what_can_be_chosen_or_typed() -> None:
    shown = form()
    fields = {one["name"]: one for group in shown["groups"] for one in group["fields"]}
    assert [value for value, _ in fields["format"]["choices"]] == ["", *FORMATS]
    assert [value for value, _ in fields["fps_mode"]["choices"]] == ["repeat", "blend", "motion"]
    assert (fields["speed"]["placeholder"], fields["fps"]["placeholder"]) == ("1 (0.25..4)", "1..120")
    assert (fields["start"]["placeholder"], fields["end"]["placeholder"]) == ("0", "")
    assert (fields["join"]["many"], fields["lut"]["accept"]) == (True, ".cube")
    assert all(one["label"] and one["help"] for one in fields.values())
    assert shown["codecs"]["mp4"] == ["h264", "h265", "av1"]
    assert shown["suffixes"][".mkv"] == "mkv"
