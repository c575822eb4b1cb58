"""An encoder for clips that need not look like anything."""

import pytest
import torch

from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.vae.encoder import fit_encoder, new_vae


@pytest.fixture(scope="session")
def block_encoder() -> BlockEncoder:
    torch.manual_seed(0)
    vae = new_vae((16, 32, 64, 64), 16)
    fit_encoder(vae, torch.randn(4, 3, 9, 32, 32))
    return BlockEncoder(vae)
