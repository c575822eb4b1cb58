"""Which weights stay in their files where RAM is short: the sum of what a job loads decides, not each part alone."""

import pytest
import torch

from framepack.memory import Budget
from framepack.models.families import FAMILIES
from framepack.pipeline import in_files
from framepack.pipeline.in_files import stay_in_files

FAMILY = FAMILIES["hunyuan"]
SIZES = {"text": 16, "image": 1, "vae": 1, "transformer": 26}


@pytest.mark.parametrize(
    ("spare", "stay"),
    [
        (44, set()),
        (43, {"text"}),
        (28, {"text"}),
        (27, {"text", "transformer"}),
        (0, {"text", "transformer"}),
    ],
)
def test_the_sum_decides_and_the_text_encoders_stay_first(spare: int, stay: set[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(in_files, "spare_ram", lambda: spare)
    budget = Budget(device=torch.device("cpu"))
    assert stay_in_files(FAMILY, budget, SIZES) == stay
    assert stay_in_files(FAMILY, budget, SIZES, changed=True) == stay - {"transformer"}


def test_under_a_limit_both_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(in_files, "spare_ram", lambda: 1000)
    budget = Budget(device=torch.device("cpu"), ram_limit=1000)
    assert stay_in_files(FAMILY, budget, SIZES) == {"text", "transformer"}
    assert stay_in_files(FAMILY, budget, SIZES, changed=True) == {"text"}
