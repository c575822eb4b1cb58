"""An attention that is not here, or cannot do all of a request, is reported before anything is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from framepack.models.attention import BACKENDS
from framepack.spec import attention
from framepack.spec.attention import ATTENTIONS, PACKAGES, left_to_sdpa, require_attention
from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest


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


@pytest.mark.parametrize("name", ATTENTIONS)
def test_sections_that_weigh_a_picture_are_reported_where_the_package_cannot(name):
    picture = Path("a.png")

    def said(strength: float) -> list[str]:
        size = {"width": 64, "height": 64, "reference": {"image": picture, "strength": strength}}
        request = GenerationRequest(image=picture, model="framepack", seconds=5, **size)
        return left_to_sdpa(name, plan(request))

    assert said(1.0) == []
    notes = said(0.5)
    assert bool(notes) is (name in PACKAGES)
    for sentence in notes:
        assert sentence.startswith(f"attention {name} supports no strength of pictures: ")
        assert len(sentence) <= 300


def test_what_is_installed_is_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "sageattention", object())
    assert attention.installed("sage")
    require_attention("sage")
