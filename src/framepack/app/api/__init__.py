"""The HTTP API: the service's face for programs, and what the page stands on. `make_app` puts it together."""

from framepack.app.api.application import make_app

__all__ = ["make_app"]
