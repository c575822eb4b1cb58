"""What all tests may use."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # so that tests of every room find tiny_checkpoints

from tiny_checkpoints import write_tiny_models_dir

settings.register_profile("any machine", deadline=None)  # a busy one takes as long as it takes
settings.load_profile("any machine")

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


@pytest.fixture(scope="session")
def tiny_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `--models-dir` of tiny random checkpoints. Shared: copy what you damage."""
    return write_tiny_models_dir(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with the public application's numbers; the test is skipped where it is not there."""
    if not REFERENCE.is_dir():
        pytest.skip(f"{REFERENCE} is not there")
    return REFERENCE
