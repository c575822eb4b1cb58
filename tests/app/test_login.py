"""How a password comes in without standing in the list of processes, and which certificates are taken."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from framepack.app.cli.main import app
from framepack.app.login import VARIABLE, login_of, notes_on
from framepack.app.tls import checked_certificate


def test_a_password_comes_from_a_file_a_variable_or_another_program(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "password"
    file.write_text("se:cret \n")
    assert login_of(None, "me", str(file), {}) == "me:se:cret "
    environment = {VARIABLE: "secret", "PATH": "/"}
    assert login_of(None, "framepack", None, environment) == "framepack:secret"
    assert environment == {"PATH": "/"}, "workers and decoders copy the environment"
    monkeypatch.setattr("sys.stdin", (tmp_path / "password").open())
    assert login_of(None, "me", "-", {}) == "me:se:cret "
    assert login_of(None, "me", None, {}) is None
    file.write_text("me:secret\n")
    assert login_of(f"@{file}", "framepack", None, {}) == "me:secret"


@pytest.mark.parametrize(
    ("auth", "user", "password", "says"),
    [
        ("me:secret", "me", None, "can be read by every program here: use --password-file FILE"),
        ("me", "me", None, "can be read by every program"),
        ("@nothing", "me", None, "there is no file nothing"),
        (None, "me", "nothing", "there is no file nothing"),
        ("@x", "me", "x", "leave one out"),
        (None, "me", "empty", "one line that is not empty"),
        (None, "me", "two", "one line that is not empty"),
        (None, "m:e", "good", "--user is a name without a colon"),
        ("@good", "me", None, "a file with USER:PASSWORD in it"),
    ],
)
def test_what_is_no_login_is_refused_without_saying_it(tmp_path, monkeypatch, auth, user, password, says) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"empty": "\n", "two": "secret\nsecret", "good": "secret", "x": "me:secret"}.items():
        Path(name).write_text(text)
    with pytest.raises(ValueError, match=says) as caught:
        login_of(auth, user, password, {})
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_file_that_others_can_read_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(0o644)
    assert "chmod 600" in notes_on(None, str(file))[0]
    file.chmod(0o600)
    assert notes_on(None, str(file)) == notes_on(f"@{file}", None) == notes_on(None, "-") == notes_on(None, None) == []


def test_the_command_refuses_a_password_among_its_arguments(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--auth", "me:secret", "--outputs", str(tmp_path)])
    assert result.exit_code
    assert "secret" not in result.output


def test_certificates_are_tried_before_anything_starts(certified, tmp_path: Path) -> None:
    certificate, key = certified("mine")
    checked_certificate(None, None)
    checked_certificate(certificate, key)
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    checked_certificate(both, None)
    other = certified("other")[1]
    locked = certified("locked", "-passout", "pass:secret")
    text = tmp_path / "text"
    text.write_text("hello")
    wrong = [
        (None, key, "--key needs --certificate"),
        (certificate, None, "name the key's file with --key"),
        (certificate, tmp_path / "no", "--key: there is no file"),
        (tmp_path, key, "--certificate: there is no file"),
        (certificate, other, "give the two that were made together"),
        (key, certificate, "no certificate and key in PEM"),
        (text, text, "no certificate and key in PEM"),
        (*locked, "has a password of its own"),
    ]
    for one, two, says in wrong:
        with pytest.raises(ValueError, match=says) as caught:
            checked_certificate(one, two)
        assert len(str(caught.value).replace(str(tmp_path), "").replace(str(certificate.parent), "")) <= 300
