import json
from pathlib import Path

import pytest

from framepack.jobs.batch import BatchError, Item, batch_name, items_of_prompts, make_requests, title_of
from framepack.jobs.batch_files import read_batch, unused
from framepack.jobs.fields import parse_setting, set_field
from framepack.jobs.grid import check_batch, expand, parse_grid
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


def test_a_folder_gives_one_request_for_each_picture_with_the_text_beside_it(tmp_path: Path):
    for name in ("b.png", "a.JPG", "notes.md", "b.txt"):
        (tmp_path / name).write_text("a boat sails away\n", encoding="utf-8-sig")  # as Windows' editors begin a file
    requests, labels = make_requests(read_batch(tmp_path, {"prompt": "it moves", "steps": 3}), [])
    assert [request.image.file.name for request in requests] == ["a.JPG", "b.png"]
    assert [request.prompt for request in requests] == ["it moves", "a boat sails away"]
    assert labels == ["a", "b"]
    assert requests[0].steps == 3


def test_a_list_of_prompts_needs_a_picture(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_text("# comment\nfirst\n\n second \n")
    requests, labels = make_requests(read_batch(file, {"image": "x.png"}), [])
    assert [request.prompt for request in requests] == labels == ["first", "second"]
    with pytest.raises(ValueError, match="--set image=FILE"):
        read_batch(file, {})


def test_jsonl_is_relative_to_its_folder_and_overrides_the_defaults(tmp_path: Path):
    file = tmp_path / "r.jsonl"
    file.write_text('{"image": "a.png", "seed": 5, "output": {"crf": 20}}\n\n{"prompt": "hi"}\n')
    requests, _ = make_requests(read_batch(file, {"image": "shared.png", "seed": 1}), [])
    assert [str(request.image.file) for request in requests] == [str(tmp_path / "a.png"), "shared.png"]
    assert [request.seed for request in requests] == [5, 1]
    assert requests[0].output.crf == 20


def test_an_object_on_a_line_adds_to_that_of_the_defaults(tmp_path: Path):
    file = tmp_path / "r.jsonl"
    file.write_text('{"image": "a.png", "output": {"crf": 20}}\n')
    (request,), _ = make_requests(read_batch(file, {"output": {"fps": 24}}), [])
    assert (request.output.crf, request.output.fps) == (20, 24)


def test_every_file_a_line_names_is_relative_to_the_folder_but_not_the_one_to_write(tmp_path: Path):
    lines = tmp_path / "r.jsonl"
    own = {"image": "a.png", "frames": [{"image": "b.png", "second": 1}], "loras": [{"file": "l.safetensors"}]}
    lines.write_text(json.dumps({**own, "output": {"path": "x.mp4"}}))
    (request,), _ = make_requests(read_batch(lines, {"end_frame": {"image": "shared.png"}}), [])
    assert [request.image.file, request.frames[0].image.file, request.loras[0].file] == [
        tmp_path / "a.png",
        tmp_path / "b.png",
        tmp_path / "l.safetensors",
    ]
    assert request.end_frame
    assert [request.end_frame.image.file, request.output.path] == [Path("shared.png"), Path("x.mp4")]
    table = tmp_path / "r.csv"
    table.write_text("image,end_frame.image\na.png,/pictures/z.png\na.png,z.png\n")
    requests, _ = make_requests(read_batch(table, {}), [])
    ends = [request.end_frame and request.end_frame.image.file for request in requests]
    assert ends == [Path("/pictures/z.png"), tmp_path / "z.png"]


def test_no_two_jobs_of_a_batch_write_the_same_file(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_text("first\nsecond\n")
    items = read_batch(file, {"image": "x.png", "output": {"path": "x.mp4"}})
    with pytest.raises(ValueError, match=r"prompts\.txt, line 2: another job of the batch writes .*x\.mp4 too"):
        make_requests(items, [])
    grid = [("output.path", ["a.mp4", str(Path("a.mp4").absolute())])]
    with pytest.raises(ValueError, match=r"line 1, output\.path=.*: another job"):
        make_requests(items[:1], grid)
    assert len(make_requests(items[:1], [("output.path", ["a.mp4", "b.mp4"])])[0]) == 2


def test_csv_names_fields_in_its_first_row_and_empty_cells_say_nothing(tmp_path: Path):
    file = tmp_path / "r.csv"
    file.write_text('\ufeffimage,prompt,seed,output.crf\na.png,"go, go",7,\nb.png,,,30\n', encoding="utf-8")
    requests, _ = make_requests(read_batch(file, {"seed": 3, "output": {"fps": 24}}), [])
    assert [(r.prompt, r.seed, r.output.crf, r.output.fps) for r in requests] == [
        ("go, go", 7, 16, 24),
        ("", 3, 30, 24),
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("r.csv", "image,steps\na.png,3\nb.png,0\n", r"r\.csv, line 3: steps must be 1\.\.200, got 0"),
        ("r.csv", "image\na.png,3\n", r"r\.csv, line 2: there are more cells"),
        ("r.csv", "image,sede\na.png,3\n", r"r\.csv, line 2: there is no setting called sede"),
        ("r.jsonl", '{"image": "a.png"}\n{"image": \n', r"r\.jsonl, line 2: this is not JSON"),
        ("r.jsonl", "[1]\n", r"r\.jsonl, line 1: a request is a JSON object"),
        ("r.jsonl", "\n", "has nothing in it"),
        ("r.yaml", "a: 1", r"a folder of pictures, a \.txt, a \.jsonl or a \.csv"),
    ],
)
def test_errors_name_their_line(tmp_path: Path, name, text, says):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        make_requests(read_batch(file, {}), [])


def test_a_missing_file_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no file"):
        read_batch(tmp_path / "none.csv", {})


def test_a_grid_makes_all_combinations_and_labels_what_distinguishes_them():
    data = {"image": "a.png", "output": {"crf": 16}}
    made = list(expand(data, [parse_grid("seed=1..2"), parse_grid("output.crf=18,24")]))
    assert [label for _, label in made] == [
        "seed=1 output.crf=18",
        "seed=1 output.crf=24",
        "seed=2 output.crf=18",
        "seed=2 output.crf=24",
    ]
    assert [variant["output"]["crf"] for variant, _ in made] == [18, 24, 18, 24]
    assert data["output"] == {"crf": 16}, "the request itself is left alone"


@pytest.mark.parametrize("text", ["seed", "=1", "seed=", "seed=3..1", "seed=1..999999999"])
def test_a_grid_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="grid"):
        parse_grid(text)


def test_a_grid_cannot_grow_beyond_all_bounds():
    many = [(name, list(range(100))) for name in ("seed", "steps", "cfg", "seconds", "window")]
    with pytest.raises(ValueError, match="combinations"):
        expand({}, many)
    with pytest.raises(ValueError, match="combinations"):
        expand({}, [("seed", [])])
    items = [Item(data={}, label="", origin="")] * 3
    with pytest.raises(ValueError, match="a batch may have 10000 jobs"):
        make_requests(items, [("seed", list(range(5000)))])


def test_settings_are_json_where_they_can_be():
    assert parse_setting("steps=20") == ("steps", 20)
    assert parse_setting("prompt=a = b") == ("prompt", "a = b")
    assert parse_setting("output.live=false") == ("output.live", False)
    with pytest.raises(ValueError, match="NAME=VALUE"):
        parse_setting("steps")


def test_a_batch_name_is_a_file_name_and_unique():
    names = {batch_name("../../etc/my batch<script>") for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("etc-my-batch-script") and "/" not in name for name in names)
    assert {title_of(name) for name in names} == {"etc my batch script"}


def test_a_grid_cannot_reach_into_a_plain_value():
    with pytest.raises(ValueError, match="has a value of its own"):
        list(expand(json.loads('{"seed": 1}'), [("seed.x", [1])]))


def test_a_grid_unfolds_one_by_one_and_shares_what_it_does_not_change():
    data = {"image": "x.png", "prompts": [{"second": 1, "text": "long"}], "output": {"crf": 16}}
    variants = expand(data, [("seed", list(range(5000))), ("output.crf", [18, 20])])
    (first, label), (second, _) = next(variants), next(variants)
    assert label == "seed=0 output.crf=18"
    assert first["prompts"] is second["prompts"] is data["prompts"]
    assert (first["output"], second["output"], data["output"]) == ({"crf": 18}, {"crf": 20}, {"crf": 16})


@pytest.mark.parametrize(
    ("requests", "grid", "says"),
    [
        (
            [{"prompt": "x" * 10_000}],
            [("seed", list(range(10_000)))],
            "would take about 110",
        ),
        ([{}], [("prompt", ["x" * 9900] * 10_000)], "would take about 109"),
        ([{"prompts": [{}] * 1000}], [("seed", list(range(1000)))], "would take about 1005"),
        ([{}], [("prompts", [[{}] * 1000] * 1000)], "would take about 1005"),
        ([{}], [(f"x{index}", [1]) for index in range(1000)], "a grid may have 20 parameters"),
        ([{}], [(".".join("x" * 1000), [1])], "names of 100 characters"),
    ],
)
def test_what_would_take_too_much_is_refused_before_anything_is_made(requests, grid, says):
    with pytest.raises(ValueError, match=says):
        check_batch(requests, grid)


def test_a_value_is_shown_in_short_in_labels():
    ((_, label),) = list(expand({}, [("prompt", ["x" * 5000])]))
    assert len(label) < 100


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.jsonl", "[" * 100_000, "line 1: this is not JSON"),
        ("a.csv", "image,prompt\nx.png," + "x" * 200_000, "line 1: this is no row of a table|line 2: this is no row"),
        ("a.txt", "a prompt\n" * 10_001, "a batch may have 10000 jobs, .* has more"),
    ],
)
def test_a_file_that_is_no_batch_is_refused_in_a_sentence(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=says):
        make_requests(read_batch(tmp_path / name, {"image": "x.png"}), [])


def test_a_file_too_large_to_be_a_batch_is_not_read(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(ValueError, match="has 10000000000 bytes, at most 100000000"):
        read_batch(tmp_path / "a.txt", {"image": "x.png"})
    picture, text = tmp_path / "b" / "x.png", tmp_path / "b" / "x.txt"
    text.parent.mkdir()
    picture.touch()
    (tmp_path / "a.txt").rename(text)
    with pytest.raises(ValueError, match="at most 1000000"):
        read_batch(text.parent, {})


def test_an_error_names_its_row_of_the_grid(tmp_path):
    items = [Item(data={"image": "x.png"}, label="x", origin="picture 3")]
    with pytest.raises(BatchError, match=r"picture 3, steps=0: steps must be 1\.\.200, got 0"):
        make_requests(items, [parse_grid("steps=3,0")])


def test_what_a_name_stands_for_counts_too():
    items = [Item(data={"image": "x.png"}, label="x", origin="x")] * 20
    long = {"image": "x.png", "prompts": [{"second": 0.1, "text": "x" * 9000}] * 10}
    with pytest.raises(ValueError, match="a batch may take 100 MB"):
        make_requests(items, [("seed", list(range(100)))], resolve=lambda data: long)


def test_prompts_are_lines_and_notes_are_left_out():
    items = list(items_of_prompts("night falls\n\n# a note\n the sun rises \n", {"image": "x"}))
    assert [(item.data["prompt"], item.origin) for item in items] == [
        ("night falls", "line 1"),
        ("the sun rises", "line 4"),
    ]


def one_of(file: Path, text: str, settings: tuple[str, ...] = (), grid: tuple[str, ...] = ()) -> GenerationRequest:
    """The first request of a batch file and of settings for all."""
    file.write_text(text, encoding="utf-8")
    defaults: dict = {}
    for setting in settings:
        set_field(defaults, *parse_setting(setting))
    return make_requests(read_batch(file, defaults), [parse_grid(one) for one in grid])[0][0]


EDITED = {"rotate": 90, "crop": (0.1, 0.0, 0.9, 1.0), "focus": (0.2, 0.8)}
TYPED = "rotate=90,crop=0.1/0/0.9/1,focus=0.2/0.8"
IN_FILES = [
    ("b.csv", f'image\n"ball.jpg[{TYPED}]"\n', (), ()),
    ("b.csv", "image,image.rotate,image.crop,image.focus\nball.jpg,90,0.1/0/0.9/1,0.2/0.8\n", (), ()),
    ("b.csv", 'image.rotate,image.focus,image.crop,image\n90,"[0.2, 0.8]","[0.1, 0, 0.9, 1]",ball.jpg\n', (), ()),
    ("b.csv", 'image,image.rotate\n"ball.jpg[crop=0.1/0/0.9/1,focus=0.2/0.8]",90\n', (), ()),
    ("b.csv", "image\nball.jpg\n", ("image.rotate=90", "image.crop=0.1/0/0.9/1", "image.focus=[0.2,0.8]"), ()),
    ("b.csv", "image\nball.jpg\n", ("image.rotate=90",), ("image.crop=0.1/0/0.9/1,[0,0,1,1]", "image.focus=0.2/0.8")),
    ("b.jsonl", f'{{"image": "ball.jpg[{TYPED}]"}}', (), ()),
    ("b.jsonl", '{"image": {"file": "ball.jpg", "rotate": 90, "crop": "0.1/0/0.9/1"}}', ("image.focus=0.2/0.8",), ()),
    ("b.txt", "still", ("image=FOLDER/ball.jpg[crop=0.1/0/0.9/1,focus=0.2/0.8]", "image.rotate=90"), ()),
]


@pytest.mark.parametrize(("name", "text", "settings", "grid"), IN_FILES)
def test_edits_of_a_picture_may_be_written_anywhere(tmp_path: Path, name, text, settings, grid):
    at = [tuple(one.replace("FOLDER", str(tmp_path)) for one in some) for some in (settings, grid)]
    (tmp_path / "ball.jpg").touch()
    assert one_of(tmp_path / name, text, *at).image == Picture(file=tmp_path / "ball.jpg", **EDITED)


def test_edits_for_all_pictures_of_a_folder(tmp_path: Path):
    (tmp_path / "a.png").touch()
    (item,) = read_batch(tmp_path, {"image": {"flip": "vertical"}})
    assert item.data == {"image": {"flip": "vertical", "file": str(tmp_path / "a.png")}}


def test_what_each_item_says_itself_makes_a_setting_for_all_void(tmp_path: Path):
    (tmp_path / "a.png").touch()
    settings = {"image": {"file": "x.png", "rotate": 90}, "steps": 3, "prompt": "rain"}
    items = read_batch(tmp_path, settings)
    assert unused(settings, items) == ["image.file", "image.rotate"]
    assert items[0].data == {"image": str(tmp_path / "a.png"), "steps": 3, "prompt": "rain"}
    (tmp_path / "b.csv").write_text("image,steps\na.png,2\na.png,\n")
    assert unused(settings, read_batch(tmp_path / "b.csv", settings)) == ["image.file", "image.rotate"]
    assert unused({"image": {"rotate": 90}}, read_batch(tmp_path / "b.csv", {"image": {"rotate": 90}})) == []


def test_lines_end_where_a_line_ends_and_empty_rows_are_none(tmp_path: Path):
    (tmp_path / "b.jsonl").write_text('{"image": "a.png", "prompt": "one\u2028two"}\r\n', encoding="utf-8")
    (item,) = read_batch(tmp_path / "b.jsonl", {})
    assert item.data["prompt"] == "one\u2028two"
    (tmp_path / "b.csv").write_text("image,prompt\na.png,x\n,\n  ,\n")
    assert len(read_batch(tmp_path / "b.csv", {"image": "z.png"})) == 1


@pytest.mark.parametrize(
    "grid",
    [
        ["seed=1", "seed=2"],
        ["output.crf=5,6", 'output={"crf": 7}'],
        ["image.file=a.jpg", "image=b.jpg"],
        ["image.rotate=0,90", "image=a.jpg[rotate=180]"],
    ],
)
def test_two_parameters_of_a_grid_may_not_decide_the_same(grid: list[str]):
    with pytest.raises(ValueError, match="twice: give all its values at once"):
        check_batch([{}], [parse_grid(one) for one in grid])


def test_a_grids_object_adds_to_what_is_there():
    data = {"output": {"crf": 5}, "end_frame": {"image": "e.png", "strength": 0.5}}
    ((made, _),) = expand(data, [("output", [{"fps": 24}]), ("end_frame.image", ["f.png"])])
    assert made == {"output": {"crf": 5, "fps": 24}, "end_frame": {"image": "f.png", "strength": 0.5}}


def test_texts_with_commas_are_a_list():
    assert parse_grid('prompt=["she sits, then stands", "rain"]') == ("prompt", ["she sits, then stands", "rain"])
    assert parse_grid("prompt=rain, snow") == ("prompt", ["rain", "snow"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,steps, steps\na.png,1,2\n", "line 1: there are two columns called 'steps'"),
        ("image.rotate\n90\n", "line 2: image.file is missing"),
        ("image,end_frame.file\na.png,b.png\n", "line 2: there is no setting called end_frame.file"),
        ("image,image.file\na.png,b.png\n", "line 2: image.file is given twice"),
        ("image\na.png[rotate=90\n", "line 2: the edits of a.png end with a bracket"),
        ("image\na.png[]\n", "line 2: there is no edit ''"),
        ('image\n"a.png[crop=0,0,1,1]"\n', "line 2: crop has / between its numbers"),
        ('image\n"a.png[flip=vertical,flip=none]"\n', "line 2: flip is given twice"),
        ("image;prompt\na.png;x\n", "line 1: its columns are separated by ';'"),
        ("image,\na.png,x\n", "line 1: column 2 has no name"),
        ('image,prompt\na.png,"x\na.png,y\n', "line 2: this is no row of a table"),
        ("image,image.focus\na.png,0.5\n", r"line 2: focus is X/Y, such as 0.5/0.3, got '0.5'"),
    ],
)
def test_an_error_in_a_table_names_the_line_and_the_fix(tmp_path: Path, text: str, says: str):
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match=f"b.csv, {says}"):
        one_of(tmp_path / "b.csv", text)


def test_a_setting_or_a_parameter_given_twice_is_refused():
    data: dict = {}
    set_field(data, "output.fps", 24)
    with pytest.raises(ValueError, match=r"output.fps is given twice"):
        set_field(data, "output.fps", 25)
    with pytest.raises(ValueError, match="a grid names seed twice"):
        expand({}, [("seed", [1]), ("seed", [2])])
