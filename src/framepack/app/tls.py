"""The certificate of a service that is reached by https: tried before anything is started."""

import ssl
from pathlib import Path


def checked_certificate(certificate: Path | None, key: Path | None) -> None:
    """ValueError where one of the two is missing, is none, or does not belong to the other."""
    if certificate is None and key is None:
        return
    if certificate is None:
        raise ValueError("--key needs --certificate, the file with the certificate that belongs to it")
    for option, file in (("--certificate", certificate), ("--key", key)):
        if file is not None and not file.is_file():
            raise ValueError(f"{option}: there is no file {file}; check its name")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        raise ValueError(reason_of(error, certificate, key)) from error
    except OSError as error:
        raise ValueError(f"{certificate} or its key cannot be read ({error.strerror}); check who may") from error


def reason_of(error: ssl.SSLError, certificate: Path, key: Path | None) -> str:
    """What is wrong, as OpenSSL's own words are for those who know it."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{key or certificate} is not the key of {certificate}: give the two that were made together"
    if key is None:
        return f"{certificate} is no PEM file with a certificate and its key in it: name the key's file with --key"
    return (
        f"{certificate} and {key} are no certificate and key in PEM: both begin with -----BEGIN, check which is which"
    )


def refuse() -> str:
    """Asked where a key has a password: a service that starts by itself has nobody to ask."""
    raise ValueError("the key has a password of its own: give one without (openssl pkey -in KEY -out NEW)")
