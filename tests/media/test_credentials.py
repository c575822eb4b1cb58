"""Content credentials, read back by c2pa's own reader."""

import json
import stat
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from framepack.files.errors import MediaError
from framepack.media import signing_key
from framepack.media.credentials import (
    drop_sidecar,
    has_credentials,
    read_credentials,
    require_signing,
    sign_file,
    statement,
)
from framepack.media.finishing import Progress
from framepack.media.marks import SOURCE_TYPE, is_marked
from framepack.media.metadata import read_metadata
from framepack.media.read import read_video
from framepack.media.video import VideoWriter
from framepack.pipeline.finishing import convert_video, finish_video

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
REQUEST = json.dumps({"framepack": "0.1.0", "request": {"image": "a.png", "seed": 7}})


@pytest.fixture(autouse=True)
def own_identity(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv(signing_key.FOLDER, str(tmp_path / "identity"))
    return tmp_path / "identity"


def film(file: Path, metadata: str | None = REQUEST) -> Path:
    with VideoWriter(file, fps=10, size=(64, 48), metadata=metadata) as writer:
        for number in range(8):
            writer.write(np.full((48, 64, 3), 9 * number, np.uint8))
    return file


def manifest(file: Path) -> dict:
    found = read_credentials(file)
    assert found is not None
    assert found["validation_state"] == "Valid"
    assert [one["code"] for one in found["validation_status"]] == ["signingCredential.untrusted"]
    return found["manifests"][found["active_manifest"]]


def actions(said: dict) -> list[dict]:
    (data,) = [one["data"] for one in said["assertions"] if one["label"].startswith("c2pa.actions")]
    return data["actions"]


def test_an_address_in_a_stranger_s_file_is_not_asked(tmp_path: Path) -> None:
    import c2pa

    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    file, elsewhere, made = film(tmp_path / "v.mp4"), tmp_path / "elsewhere.mp4", film(tmp_path / "w.mp4")
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        certificate, sign = signing_key.identity()
        signer = c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, certificate, None)
        with c2pa.Builder(statement(file, edited=False)) as builder, file.open("rb") as before:
            builder.set_remote_url(f"http://127.0.0.1:{server.server_port}/a.c2pa")
            builder.set_no_embed()
            with elsewhere.open("wb+") as after:
                builder.sign(signer, "video/mp4", before, after)
        with pytest.raises(MediaError, match="remote"):
            read_credentials(elsewhere)
        sign_file(made, elsewhere)
        server.shutdown()
    assert asked == []
    assert manifest(made)["ingredients"][0]["title"] == "elsewhere.mp4"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".gif", ".webp", ".apng"])
def test_a_signed_file_says_validly_that_ai_made_it_and_is_otherwise_the_same(tmp_path: Path, suffix: str) -> None:
    file = film(tmp_path / f"v{suffix}")
    before, size = np.stack(list(read_video(file))), file.stat().st_size
    assert read_credentials(file) is None
    assert sign_file(file) == file
    said = manifest(file)
    assert (said["title"], actions(said)[0]["action"]) == (file.name, "c2pa.created")
    assert actions(said)[0]["digitalSourceType"] == SOURCE_TYPE
    assert "thumbnail" not in said
    assert file.stat().st_size < size + 40_000
    assert (np.stack(list(read_video(file, whole=True))) == before).all()
    assert (read_metadata(file), is_marked(file)) == (json.loads(REQUEST), True)


def test_a_video_of_elsewhere_is_not_said_to_be_of_ai(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not marked as made by AI"):
        sign_file(film(tmp_path / "v.mp4", None))
    assert read_credentials(tmp_path / "v.mp4") is None


def test_an_edit_is_signed_anew_with_its_source_as_ingredient(tmp_path: Path) -> None:
    source = sign_file(film(tmp_path / "v.mp4"))
    said = manifest(sign_file(film(tmp_path / "w.mp4"), source))
    (ingredient,) = said["ingredients"]
    assert (ingredient["title"], ingredient["relationship"]) == ("v.mp4", "parentOf")
    assert [one["action"] for one in actions(said)] == ["c2pa.opened", "c2pa.edited"]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".zip"])
def test_what_holds_none_has_them_in_a_file_beside_it(tmp_path: Path, suffix: str) -> None:
    file = film(tmp_path / f"v{suffix}")
    content = file.read_bytes()
    assert not has_credentials(file)
    assert sign_file(file) == tmp_path / "v.c2pa"
    assert (file.read_bytes(), has_credentials(file)) == (content, True)
    assert actions(manifest(file))[0]["digitalSourceType"] == SOURCE_TYPE
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    changed = read_credentials(file)
    assert changed is not None
    assert changed["validation_state"] == "Invalid"


def test_a_file_beside_is_of_one_video(tmp_path: Path) -> None:
    sign_file(film(tmp_path / "v.mkv"))
    with pytest.raises(ValueError, match=r"v\.c2pa is of v\.webm or of v\.mkv: rename"):
        sign_file(film(tmp_path / "v.webm"))
    (tmp_path / "v.webm").unlink()
    assert manifest(tmp_path / "v.mkv")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".gif", ".zip"])
def test_what_is_made_of_a_signed_file_is_signed_with_it_as_ingredient(tmp_path: Path, suffix: str) -> None:
    signed = sign_file(film(tmp_path / "v.mp4"))
    converted, finished = tmp_path / f"c{suffix}", tmp_path / f"f{suffix}"
    said = [*convert_video(signed, converted), *finish_video(signed, {"grain": 0.1}, finished)]
    assert [notice for notice in said if isinstance(notice, str)] == []
    for file in (converted, finished):
        (ingredient,) = manifest(file)["ingredients"]
        assert (ingredient["title"], ingredient["relationship"]) == ("v.mp4", "parentOf")
        assert "active_manifest" in ingredient


def test_credentials_of_a_joined_video_are_said_to_end(tmp_path: Path) -> None:
    plain, signed = film(tmp_path / "a.mp4"), film(tmp_path / "b.mp4")
    sign_file(signed)
    said = [one for one in finish_video(plain, {"join": [signed]}, tmp_path / "c.mp4") if isinstance(one, str)]
    assert len(said) == 1
    assert said[0].startswith("the content credentials of b.mp4 do not go along: only those of the first video do")
    assert [one for one in finish_video(plain, {"join": [plain]}, tmp_path / "d.mp4") if isinstance(one, str)] == []


def test_credentials_that_do_not_go_along_are_said(tmp_path: Path, monkeypatch) -> None:
    signed = sign_file(film(tmp_path / "v.mp4"))
    said = list(convert_video(signed, tmp_path / "pictures", format="png"))
    assert "the content credentials of v.mp4 do not go along: pictures cannot have content credentials" in str(said[-1])
    assert list(convert_video(film(tmp_path / "w.mp4"), tmp_path / "w.mov"))[-1] == Progress(frames=8, total=8)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".gif", ".webp", ".apng", ".png"])
def test_signed_files_are_told_from_others_without_the_library(tmp_path: Path, suffix: str) -> None:
    file = film(tmp_path / "v.apng").rename(tmp_path / "v.png") if suffix == ".png" else film(tmp_path / f"v{suffix}")
    assert not has_credentials(file)
    sign_file(file)
    assert has_credentials(file)


def test_a_changed_file_is_no_longer_valid(tmp_path: Path) -> None:
    file = sign_file(film(tmp_path / "v.mp4"))
    content = bytearray(file.read_bytes())
    place = content.index(b"mdat") + 40
    content[place] ^= 0xFF
    file.write_bytes(content)
    found = read_credentials(file)
    assert found is not None
    assert found["validation_state"] == "Invalid"


def test_the_key_is_made_once_and_only_its_user_reads_it(tmp_path: Path, own_identity: Path) -> None:
    sign_file(film(tmp_path / "v.mp4"))
    key = own_identity / signing_key.KEY
    made = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    sign_file(film(tmp_path / "w.mp4"))
    assert key.read_bytes() == made


def test_what_holds_none_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    film(tmp_path / "v.mkv").rename(tmp_path / "v.avi")
    for name in ("v.avi", "pictures"):
        with pytest.raises(ValueError, match="cannot have content credentials"):
            sign_file(tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.avi"]
    (tmp_path / "bad.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(MediaError, match="neither a video nor an image"):
        sign_file(tmp_path / "bad.mp4")
    assert (tmp_path / "bad.mp4").read_bytes() == b"nothing of the kind"
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]
    with pytest.raises(MediaError, match="no such file"):
        sign_file(tmp_path / "none.mp4")


def test_what_cannot_sign_is_said_before_the_work(tmp_path: Path, own_identity: Path) -> None:
    require_signing(None)
    right = (own_identity / signing_key.KEY).read_bytes()
    for wrong, said in ((b"hello", "no PEM file"), (right.replace(b"PRIVATE", b"SECRET"), "no PEM file")):
        (own_identity / signing_key.KEY).write_bytes(wrong)
        with pytest.raises(ValueError, match=said):
            require_signing(None)
    (own_identity / signing_key.KEY).unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        require_signing(None)
    signing_key.make_identity(tmp_path / "another")
    (own_identity / signing_key.KEY).write_bytes((tmp_path / "another" / signing_key.KEY).read_bytes())
    with pytest.raises(ValueError, match="is not the certificate of"):
        require_signing(None)


def test_a_source_that_is_none_is_named_and_not_the_file(tmp_path: Path) -> None:
    file, text = film(tmp_path / "v.mp4"), tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(MediaError, match=r"text\.mp4' is no video or picture"):
        sign_file(file, text)
    with pytest.raises(ValueError, match="its own source"):
        sign_file(file, file)


def test_a_file_that_takes_anothers_place_has_not_its_credentials(tmp_path: Path) -> None:
    sign_file(film(tmp_path / "v.mkv"))
    assert (tmp_path / "v.c2pa").is_file()
    film(tmp_path / "v.webm")
    drop_sidecar(tmp_path / "v.mkv")
    assert (tmp_path / "v.c2pa").is_file(), "it may be the other's"
    (tmp_path / "v.webm").unlink()
    drop_sidecar(tmp_path / "v.mkv")
    assert not (tmp_path / "v.c2pa").exists()
