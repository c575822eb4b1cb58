"""Looks at a request's files before torch is loaded, which takes seconds."""

from pathlib import Path

from framepack.spec.machine import MachineOptions
from framepack.spec.request import GenerationRequest


def check_files(request: GenerationRequest, work: Path | None, options: MachineOptions) -> None:
    """ValueError for a file that is missing, wrong or in the way: before torch, which takes seconds to load."""
    from framepack.app.service.models_here import not_here
    from framepack.media.clips import lasting, look
    from framepack.media.credentials import require_signing
    from framepack.media.finishing import check_steps
    from framepack.media.source import open_source
    from framepack.pipeline.output_file import require_place

    if missing := not_here(request.model, options.models_dir, options.revision):
        raise ValueError(missing)
    for key, picture in request.files.items():
        look(request, key, picture)
    lasting(request)
    for wanted in request.loras:
        with open_source(wanted.file):
            pass
    check_steps(request.finish)
    output = request.output
    if output.sign:
        require_signing(output.path)
    if output.path is not None and (work is None or not work.exists()):
        require_place(output.path, request, own=False)
