"""Files of tensors are as readable as any other file that the program writes."""

import os
from stat import S_IMODE

import pytest
import torch
from safetensors.torch import load_file

from framepack.training.lora.adapter import save_lora
from framepack.training.tensors import save_tensors


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_have_the_permissions_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        save_lora(tmp_path / "lora.safetensors", {"x.lora_A.weight": torch.ones(2)}, 1, 1.0, {})
        save_tensors({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    for name in ("lora.safetensors", "a.safetensors"):
        assert S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask
    assert load_file(tmp_path / "a.safetensors")["a"].tolist() == [1]
