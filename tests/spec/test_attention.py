"""An attention that is not here, or cannot do all of a request, is reported before anything is loaded."""

import subprocess
import sys

import pytest

from framepack.models.attention import BACKENDS
from framepack.spec import attention
from framepack.spec.attention import ATTENTIONS, require_attention


def test_all_names_have_a_backend():
    assert tuple(BACKENDS) == ATTENTIONS


def test_an_unknown_name_and_a_missing_package_are_refused_without_torch():
    code = (
        "import sys; from framepack.spec.attention import require_attention\n"
        "try: require_attention('flash-attn')\nexcept ValueError as error: print(error)\n"
        "assert 'torch' not in sys.modules"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "attention flash-attn needs the package flash_attn, which is not installed; use auto\n"
    with pytest.raises(ValueError, match="attention must be one of auto, sdpa"):
        require_attention("fast")


def test_what_is_installed_is_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "sageattention", object())
    assert attention.installed("sage")
    require_attention("sage")
