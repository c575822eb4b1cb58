"""`framepack serve`: the page and the HTTP API."""

from pathlib import Path
from typing import Annotated, Any

import typer

from framepack.app.cli.jobs import Outputs, folders_of
from framepack.app.cli.machine import machine_of, pool_config
from framepack.app.cli.request import with_fields
from framepack.spec.machine import ServiceOptions


@with_fields(machine=ServiceOptions)
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on. Any but this machine's own needs a password.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535)] = 7860,
    auth: Annotated[str | None, typer.Option(help="@FILE that has USER:PASSWORD in it.")] = None,
    user: Annotated[str, typer.Option(help="Name that goes with the password.")] = "framepack",
    password_file: Annotated[
        str | None, typer.Option(help="File with the password; - asks for it. Or set FRAMEPACK_PASSWORD.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file with a certificate: serve by https.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(help="Address of a reverse proxy whose X-Forwarded-For is trusted.")
    ] = None,
    i_know: Annotated[bool, typer.Option("--i-know", help="Allow everyone who can reach the address.")] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="Another host name of the service.")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page, or only the HTTP API.")] = True,
    outputs: Outputs = None,
    *,
    machine: dict[str, Any],
) -> None:
    """Run the job service with its page and HTTP API until Ctrl-C. Running jobs resume at the next start."""
    try:
        from framepack.app.login import login_of, notes_on
        from framepack.app.server import Address, access_of, run_server
        from framepack.app.tls import checked_certificate
    except ModuleNotFoundError as error:
        raise ValueError(f"serving needs {error.name}: pip install 'framepack[server]'") from error
    checked_certificate(certificate, key)
    login = login_of(auth, user, password_file)
    address = Address(
        host=host,
        port=port,
        login=login,
        i_know=i_know,
        allow_host=tuple(allow_host or ()),
        certificate=certificate,
        key=key,
        proxies=tuple(proxy or ()),
    )
    access_of(address)
    for note in notes_on(auth, password_file):
        print(note)
    if i_know and (login or address.local):
        print("note: --i-know has no effect: the service is not open to everyone anyway")
    if login and not address.local and certificate is None and not proxy:
        print("note: without --certificate the password travels as it is, for every machine on the way to read")
    config = pool_config(machine_of(machine, ServiceOptions))
    run_server(folders_of(outputs), config, address, print, page=page)
