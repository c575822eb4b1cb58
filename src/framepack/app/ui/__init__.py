"""The page. Gradio is imported when one is mounted, and not before; all it knows of jobs is the service."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from framepack.app.service import Service


def mount_page(app: "FastAPI", service: "Service", presets: Path) -> "FastAPI":
    """Serve the page at `/` of an application that has the HTTP API. Call it after all other routes are there.

    `presets` is the folder of named settings. ImportError where Gradio is missing: `pip install 'framepack[server]'`.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("GRADIO_TEMP_DIR", str(service.folders.home / "page"))
    from framepack.app.ui.page import mount

    service.models.look()
    return mount(app, service, presets)
