"""Several processes train one model: torchrun starts two, and they leave what one process would."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from framepack.training.replicas import Replicas
from framepack.training.run_log import read_log

WALK = Path(__file__).parents[1] / "replica_walk.py"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replicas")
    ran = subprocess.run([*TORCHRUN, str(WALK), str(folder)], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder


@pytest.mark.proof
def test_gradients_are_averaged_also_where_one_process_has_none(walked):
    found = [json.loads((walked / f"found{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]
    for rank, one in enumerate(found):
        assert one["both"] == [2.0, 4.0]
        assert one["second"] == [2.0, 2.0]
        assert one["neither"] is None
        assert one["means"] == [1.0]
        assert one["agreed"] is True
        assert one["share"] == 4
        assert one["device"] == f"cuda:{rank}"
    assert found[0]["drawn"] != found[1]["drawn"]
    assert found[0]["drawn"] == int(np.random.default_rng((1, 2)).integers(2**30))


@pytest.mark.proof
def test_a_run_of_two_processes_in_pieces_is_the_run_in_one_go_to_the_bit(walked):
    for file in walked.glob("steps*.json"):
        assert json.loads(file.read_text(encoding="utf-8")) == [40, 20, 40, 40]
    for name in ("state/part-00.safetensors", "state/state.json"):
        assert (walked / "whole" / name).read_bytes() == (walked / "pieces" / name).read_bytes()
    rows = read_log(walked / "whole/log.csv")
    assert [row["samples"] for row in rows] == [40, 80]
    model = "model/framepack/mini/diffusion_pytorch_model.safetensors"
    assert (walked / "whole" / model).read_bytes() == (walked / "pieces" / model).read_bytes()


def test_one_process_is_alone():
    alone = Replicas()
    assert alone.local_batch(7) == 7
    assert str(alone.device("cuda")) == "cuda"
    assert alone.random(1, 2).integers(2**30) == np.random.default_rng((1, 2)).integers(2**30)
    with alone.main_process_first():
        assert alone.broadcast(False) is False
