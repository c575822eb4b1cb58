"""Content credentials (C2PA) in a finished file: a signed statement that AI made it, by c2pa-python (the extra `c2pa`).

The key is this user's own and made once, its certificate signed by itself: readers say that the statement is valid and
its signer not known to them. No address is asked for the time, no thumbnail is kept. Put another key and certificate
chain into the folder to sign with those.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from framepack.files.atomic import atomic_write, make_folder
from framepack.files.errors import MediaError
from framepack.media.marks import SOURCE_TYPE, is_made_by_ai
from framepack.media.source import open_source

MAKER = {"name": "FramePack", "version": metadata.version("framepack")}
FOLDER = "FRAMEPACK_CREDENTIALS"
"""Environment variable that names another folder for key and certificate."""
KEY, CERTIFICATE = "key.pem", "certificate.pem"
YEARS = 10
MIMES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".tiff": "image/tiff",
}
"""Kinds of files that hold credentials, by suffix."""
SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}
"""A thumbnail would make a gif ten times as large."""


def library() -> Any:
    """c2pa-python. ValueError where the extra is not installed."""
    try:
        import_module("cryptography")
        return import_module("c2pa")
    except ImportError:
        raise ValueError(
            "content credentials are written by c2pa-python, which is not installed: pip install 'framepack[c2pa]'"
        ) from None


def sign_file(file: Path | str, source: Path | str | None = None, *, folder: Path | None = None) -> Path:
    """Put credentials into `file`, which is signed or stays as it was.

    source: the video it was made from, which the credentials name as its ingredient. folder: of key and certificate, by
    default `~/.config/framepack/credentials` or $FRAMEPACK_CREDENTIALS. Raises ValueError for a kind of file that holds
    none, for one that is not marked as made by AI, and without the extra, MediaError for a damaged one.
    """
    file, c2pa = Path(file), library()
    mime = mime_of(file)
    if not is_made_by_ai(file):
        raise ValueError(f"{file.name} is not marked as made by AI, which is what credentials say: leave it unsigned")
    certificate, sign = identity(folder)
    signer = c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, certificate, None)
    origin = None if source is None else Path(source)
    try:
        with (
            c2pa.Context.from_dict(SETTINGS) as context,
            c2pa.Builder(statement(file, edited=origin is not None), context) as builder,
            atomic_write(file) as temporary,
        ):
            if origin is not None:
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
                with origin.open("rb") as opened:
                    builder.add_ingredient({"title": origin.name, "relationship": "parentOf"}, mime_of(origin), opened)
            with file.open("rb") as before, temporary.open("wb+") as after:
                builder.sign(signer, mime, before, after)
    except c2pa.C2paError as error:
        raise MediaError(f"'{file}' cannot be signed ({error}): it may be damaged, so make it again") from error
    return file


def read_credentials(file: Path | str) -> dict[str, Any] | None:
    """What a file's credentials say, as c2pa's reader has it, with `validation_state`; None where there are none."""
    file, c2pa = Path(file), library()
    with open_source(file) as opened:
        try:
            with c2pa.Reader(mime_of(file), opened) as reader:
                return json.loads(reader.json())
        except c2pa.C2paError as error:
            if "ManifestNotFound" in f"{type(error).__name__} {error}":
                return None
            raise MediaError(f"the credentials of '{file}' cannot be read ({error})") from error


def mime_of(file: Path) -> str:
    """The kind of a file. ValueError for one that holds no credentials."""
    if file.suffix.lower() not in MIMES:
        raise ValueError(f"{file.name} cannot hold content credentials: use one of {', '.join(MIMES)}")
    return MIMES[file.suffix.lower()]


def statement(file: Path, *, edited: bool) -> dict[str, Any]:
    """That AI made the file with this program, or that it was edited with it; what it was before, c2pa adds."""
    action: dict[str, Any] = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    if edited:
        action["action"] = "c2pa.edited"
    actions = {"actions": [{**action, "softwareAgent": MAKER}]}
    return {
        "claim_generator_info": [MAKER],
        "title": file.name,
        "assertions": [{"label": "c2pa.actions", "data": actions}],
    }


def identity(folder: Path | None = None) -> tuple[str, Callable[[bytes], bytes]]:
    """The certificate chain as PEM, and what signs bytes with its key (ES256); made where there is none yet."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    named = os.environ.get(FOLDER)
    home = folder or (Path(named) if named else Path.home() / ".config" / "framepack" / "credentials")
    if not (home / CERTIFICATE).is_file():
        make_identity(home)
    key: Any = serialization.load_pem_private_key((home / KEY).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(f"{home / KEY} is no key on the curve P-256, which content credentials are signed with here")

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    return (home / CERTIFICATE).read_text("utf-8"), sign


def make_identity(folder: Path) -> None:
    """A key that only this user can read, and a certificate for it, as C2PA asks of one that signs."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    public = key.public_key()
    titles = {NameOID.ORGANIZATION_NAME: "FramePack", NameOID.COMMON_NAME: "A user of FramePack"}
    name = x509.Name([x509.NameAttribute(part, text) for part, text in titles.items()])
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= dict.fromkeys(("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    make_folder(folder)
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    with atomic_write(folder / KEY) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(secret)
    with atomic_write(folder / CERTIFICATE) as temporary:
        temporary.write_bytes(certificate.public_bytes(pem))
