"""The key that content credentials are signed with, and its certificate: this user's own, made where there is none.

Another key (on the curve P-256) and its chain of certificates may be put in their place, as PEM without a password.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from framepack.files.atomic import atomic_write, make_folder

FOLDER = "FRAMEPACK_CREDENTIALS"
"""Environment variable that names another folder for key and certificate."""
KEY, CERTIFICATE = "key.pem", "certificate.pem"
YEARS = 10


def identity(folder: Path | None = None) -> tuple[str, Callable[[bytes], bytes]]:
    """The certificate chain as PEM, and what signs bytes with its key (ES256); made where there is none yet."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    home = folder or identity_folder()
    if not (home / CERTIFICATE).is_file():
        make_identity(home)
    key: Any = read_pem(home / KEY, lambda pem: serialization.load_pem_private_key(pem, None))
    certificate: Any = read_pem(home / CERTIFICATE, x509.load_pem_x509_certificates)[0]
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(f"{home / KEY} is no key on the curve P-256, which content credentials are signed with here")
    if certificate.public_key() != key.public_key():
        raise ValueError(
            f"{home / CERTIFICATE} is not the certificate of {home / KEY}: put the first one of the key's chain"
        )

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    return (home / CERTIFICATE).read_text("utf-8"), sign


def identity_folder() -> Path:
    """Where key and certificate are."""
    named = os.environ.get(FOLDER)
    return Path(named).absolute() if named else Path.home() / ".config" / "framepack" / "credentials"


def read_pem(file: Path, read: Callable[[bytes], Any]) -> Any:
    """What a file of the identity holds. ValueError where it is missing, locked by a password, or no such file."""
    try:
        return read(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}): content credentials are signed with it") from None
    except (ValueError, TypeError):  # TypeError: it has a password
        raise ValueError(
            f"{file} is no PEM file that can be read without a password: put another there, or remove {KEY} and "
            f"{CERTIFICATE} to have new ones made"
        ) from None


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
