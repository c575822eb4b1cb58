"""`framepack serve`, and the options and workers that it shares with `framepack batch`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from framepack.app.cli.jobs import Outputs, folders_of

if TYPE_CHECKING:
    from framepack.jobs.pool import Crew

Device = Annotated[list[str] | None, typer.Option("--device", help="auto, cpu, cuda:0 ...; one worker each.")]
ModelsDir = Annotated[Path | None, typer.Option("--models-dir", help="Folder with the models.")]
InProcess = Annotated[bool, typer.Option("--in-process", help="Work in a thread: simpler, but a crash ends it all.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network.")]
Preset = Annotated[
    str | None, typer.Option(help="Name of a preset; its settings hold where nothing else says otherwise.")
]
Preserve = Annotated[str | None, typer.Option(help="GPU memory to leave free for the work itself, such as 6GB.")]
Attention = Annotated[
    str, typer.Option(help="auto, sdpa, sdpa-chunked, or flash-attn, sage, xformers where installed.")
]
VramLimit = Annotated[
    str | None,
    typer.Option(
        help="Use no more GPU memory than this, such as 6GB. Without a GPU: `plan` is for one of this size; work "
        "passes its weights through so much RAM as if it were one, which saves nothing and is for tests."
    ),
]
RamLimit = Annotated[str | None, typer.Option(help="Use no more RAM for weights; others stay on disk.")]
VaeTiling = Annotated[
    Literal["never", "allow", "always"],
    typer.Option("--vae-tiling", help="VAE tiles, which leave faint seams; allow: where nothing else fits."),
]
TARGET = "framepack.app.service.worker_target:make_generator"


def crew_of(
    device: list[str] | None, models_dir: Path | None, *, in_process: bool, limits: "dict[str, str]", **common: object
) -> "Crew":
    """One worker for each device. `limits` are sizes by the name of their option, `common` other settings."""
    from framepack.app.machine import check_devices
    from framepack.app.settings import Settings
    from framepack.jobs.pool import Crew
    from framepack.spec.attention import require_attention
    from framepack.spec.dtypes import require_dtype

    require_attention(str(common.get("attention", "auto")))
    if (dtype := str(common.get("dtype", "auto"))) != "auto":
        require_dtype(dtype)
    check_devices(device or [])
    models = models_dir or Settings.from_environment().models_dir
    if models is not None and not models.is_dir():
        raise ValueError(f"{models} is not a folder: --models-dir must name one that holds models")
    common |= {"models_dir": str(models.absolute()) if models else None, **limits}
    workers = [{**common, "device": name} for name in device or ["auto"]]
    return Crew(target=TARGET, workers=workers, in_process=in_process)


def checked_limits(device: list[str] | None, **limits: str | None) -> "dict[str, str]":
    """The limits that were given; ValueError for what is no size, or can mean nothing here."""
    given = {name: size for name, size in limits.items() if size}
    if not given:
        return {}
    from framepack.app.machine import has_gpu
    from framepack.memory.budget import parse_bytes

    for size in given.values():
        parse_bytes(size)
    if "preserve" in given and not has_gpu(device or ["auto"]):
        raise ValueError("there is no GPU here, so there is no GPU memory to leave free: leave out --preserve")
    return given


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; other than this machine's own needs a password.")] = (
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
        list[str] | None, typer.Option(help="Address of a reverse proxy whose X-Forwarded-For is believed.")
    ] = None,
    i_know: Annotated[bool, typer.Option("--i-know", help="Let everyone in who can reach the address.")] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="A further name the service is reached by.")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Without: only the HTTP API.")] = True,
    outputs: Outputs = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    dtype: Dtype = "auto",
    vram_limit: VramLimit = None,
    ram_limit: RamLimit = None,
    preserve: Preserve = None,
    attention: Attention = "auto",
    vae_tiling: VaeTiling = "never",
    offline: Offline = False,
    in_process: InProcess = False,
) -> None:
    """Run the job service with its page and HTTP API until Ctrl-C. Running jobs go on from there the next time."""
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
        print("note: --i-know has no effect: only those who may are let in anyway")
    if login and not address.local and certificate is None and not proxy:
        print("note: without --certificate the password travels as it is, for every machine on the way to read")
    limits = checked_limits(device, vram_limit=vram_limit, ram_limit=ram_limit, preserve=preserve)
    common = {"dtype": dtype, "offline": offline, "attention": attention, "vae_tiling": vae_tiling}
    crew = crew_of(device, models_dir, in_process=in_process, limits=limits, **common)
    run_server(folders_of(outputs), crew, address, print, page=page)


def given(context: typer.Context, names: tuple[str, ...]) -> list[str]:
    """The options of these names that someone gave, as they are typed."""
    sources = {name: context.get_parameter_source(name) for name in names}
    typed = {one.name: max(one.opts, key=len) for one in context.command.params}
    return [typed[name] for name, source in sources.items() if source and source.name != "DEFAULT"]
