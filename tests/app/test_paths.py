"""No name a client gives leads out of the folders."""

import itertools
import random

import pytest

from framepack.app.service.job_service import folders_at
from framepack.app.service.paths import adopt, find_file, for_client, from_client
from framepack.jobs.paths import PATHS
from framepack.spec.request import GenerationRequest

SECRET = "secret.txt"


@pytest.fixture
def folders(tmp_path):
    folders = folders_at(tmp_path / "outputs")
    (folders.uploads / "mine.png").write_bytes(b"x")
    (folders.outputs / "video.mp4").write_bytes(b"x")
    (folders.home / "loras" / "style.safetensors").write_bytes(b"x")
    for secret in (tmp_path / SECRET, folders.home / SECRET, folders.home / "logs" / SECRET):
        secret.write_text("secret")
    (folders.uploads / "link.png").symlink_to(tmp_path / SECRET)
    (folders.outputs / "sub").mkdir()
    (folders.outputs / "sub" / SECRET).write_text("secret")
    return folders


def traversals() -> list[str]:
    """500 names that try to get out."""
    ups = ["..", "....", "%2e%2e", "..%00", ".%2e", "%252e%252e", "..;", "\uff0e\uff0e", "..\u2215", "%c0%ae%c0%ae"]
    separators = ["/", "\\", "%2f", "%5c", "//", "/./", "\\\\", "%c0%af", "\u2215"]
    fixed = [
        "/etc/passwd",
        "C:\\Windows\\win.ini",
        "\\\\server\\share\\x",
        "file:///etc/passwd",
        "~/.ssh/id_rsa",
        "mine.png/../../../secret.txt",
        "mine.png\0.txt",
        "link.png",
        "sub/secret.txt",
        ".framepack/secret.txt",
        ".framepack",
        ".",
        "..",
        "",
        " ",
        "mine.png ",
        "mine.png.",
        "mine.png\n",
        "-rf",
        "CON",
        "mine.png::$DATA",
        "a" * 300,
        "http://169.254.169.254/",
        "|id",
        "$(id)",
        "`id`",
    ]
    made = [
        f"{start}{(up + separator) * depth}{SECRET}"
        for up, separator, depth, start in itertools.product(ups, separators, (1, 2, 3, 6), ("", "/", "uploads/"))
    ]
    return fixed + random.Random(1).sample(made, 500 - len(fixed))


@pytest.mark.parametrize("path", [".".join(path) for path in PATHS])
def test_500_traversals_in_each_path_of_a_request_find_nothing(folders, path):
    names = traversals()
    assert len(names) == 500
    before = sorted(file for file in folders.outputs.parent.rglob("*"))
    for name in names:
        data: dict = {"image": "mine.png"}
        value: object = name
        for part in reversed(path.split(".")):
            value = [value] if part == "*" else {part: value}
        data |= value
        with pytest.raises(
            ValueError, match=r"name of|no upload or output|no LoRA called|for finishing|chosen by|null"
        ):
            from_client(data, folders)
    assert sorted(file for file in folders.outputs.parent.rglob("*")) == before


def test_bare_names_are_found_and_shown_again(folders):
    data = {
        "image": "mine.png",
        "end_frame": {"image": "video.mp4"},
        "loras": [{"file": "style.safetensors"}],
        "output": {"crf": 20},
    }
    located = from_client(data, folders)
    assert located["image"] == str(folders.uploads / "mine.png")
    assert located["loras"][0]["file"] == str(folders.home / "loras" / "style.safetensors")
    assert for_client(located) == data


def test_a_lora_is_not_looked_for_among_the_uploads(folders):
    with pytest.raises(ValueError, match=r"no LoRA called .mine\.png."):
        from_client({"image": "mine.png", "loras": [{"file": "mine.png"}]}, folders)


def test_names_with_spaces_and_dots_are_found_and_a_link_is_not(folders):
    (folders.outputs / "my video (2).v1.mp4").write_bytes(b"x")
    assert find_file("my video (2).v1.mp4", (folders.outputs,)).exists()
    with pytest.raises(ValueError, match="no upload"):
        find_file("link.png", (folders.uploads,))


def test_a_local_request_keeps_its_picture_when_the_original_is_deleted(folders, tmp_path):
    picture = tmp_path / "holiday.JPG"
    picture.write_bytes(b"pixels")
    first = adopt(GenerationRequest(image=picture), folders)
    second = adopt(GenerationRequest(image=picture), folders)
    picture.unlink()
    assert first.image == second.image
    assert first.image.file.read_bytes() == b"pixels"
    assert first.image.file.parent == folders.uploads
    assert adopt(first, folders) == first
    with pytest.raises(ValueError, match="there is no file"):
        adopt(GenerationRequest(image=picture), folders)


def test_a_lora_of_the_jobs_own_keeps_its_place(folders, tmp_path):
    own = tmp_path / "v2" / "style.safetensors"
    request = {"image": "mine.png", "loras": [{"file": "style.safetensors"}]}
    assert from_client(request, folders, [own])["loras"][0]["file"] == str(own)
    assert from_client(request, folders)["loras"][0]["file"] == str(folders.home / "loras" / "style.safetensors")
    with pytest.raises(ValueError, match=r"no LoRA called .other\.safetensors. here; add its file"):
        from_client({"image": "mine.png", "loras": [{"file": "other.safetensors"}]}, folders, [own])


def test_two_loras_of_one_name_keep_their_places_and_are_kept_or_dropped_together(folders, tmp_path):
    own = [tmp_path / version / "x.safetensors" for version in ("v1", "v2")]
    named = [{"file": "x.safetensors", "strength": strength} for strength in (1, 0.5)]
    located = from_client({"image": "mine.png", "loras": named}, folders, own)
    assert [lora["file"] for lora in located["loras"]] == [str(file) for file in own]
    assert from_client({"image": "mine.png", "loras": []}, folders, own)["loras"] == []
    with pytest.raises(ValueError, match=r"2 LoRAs called .x\.safetensors.: keep all of them or none"):
        from_client({"image": "mine.png", "loras": named[:1]}, folders, own)


@pytest.mark.parametrize(
    "name",
    ["日本.mp4", "Straße & Co.mp4", "e\u0301.mp4", "a'b.mp4", "👩‍👧.mp4", "50% [x].mp4", "-v.mp4", "x" * 251 + ".mp4"],
)
def test_a_file_may_be_called_what_the_file_system_allows(client, service, name):
    (service.folders.outputs / name).write_bytes(b"video")
    assert find_file(name, (service.folders.outputs,)) == service.folders.outputs / name
    (listed,) = client.get("/api/files").json()
    assert listed["name"] == name
    answer = client.get(listed["url"])
    assert (answer.status_code, answer.content) == (200, b"video")
