"""Which device is taken, and what is said of it."""

from types import SimpleNamespace

import pytest
import torch

from framepack.app import runtime
from framepack.app.cli.models import confinement, verdict_13b
from framepack.memory import budget
from framepack.memory.probe import Device, DeviceMemory, Machine
from framepack.pipeline.device import choose_device


def card(name: str, free: float) -> Device:
    memory = DeviceMemory(total=int(80e9), free=int(free), allocated=0, reserved=0)
    return Device(name=name, model="card", memory=memory, bf16=True)


def machine(*devices: Device) -> Machine:
    best_first = sorted(devices, key=lambda device: -device.memory.free)
    return Machine(
        devices=(*best_first, card("cpu", 64e9)),
        cores=8,
        ram_total=int(64e9),
        ram_available=int(60e9),
        disk_free=int(1e12),
        torch="2.13.0",
    )


def test_a_card_that_is_not_there_is_told_with_how_many_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="has 2 cuda devices, counted from cuda:0, got 'cuda:7'"):
        choose_device("cuda:7")


def test_the_doctor_speaks_of_the_card_that_is_taken_and_names_a_freer_one():
    busy = verdict_13b(machine(card("cuda:0", 10e9), card("cuda:1", 79e9)))
    assert busy.startswith("run on cuda:0, blocks streamed")
    assert busy.endswith("more memory is free on --device cuda:1")
    assert verdict_13b(machine(card("cuda:0", 79e9))) == "run on cuda:0 with everything resident"
    assert "need a GPU" in verdict_13b(machine())


@pytest.mark.parametrize(
    ("system", "limit", "share"), [("posix", None, 1.0), ("posix", "6GB", 0.25), ("nt", None, 0.9 * 18 / 24)]
)
def test_torch_is_told_the_limit_of_the_card(monkeypatch, system, limit, share):
    told = []
    card = DeviceMemory(total=24 * 10**9, free=18 * 10**9, allocated=0, reserved=0)
    for module in (runtime, budget):
        monkeypatch.setattr(module, "device_memory", lambda device: card)
    monkeypatch.setattr(runtime, "os", SimpleNamespace(name=system))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: told.append(given))
    for device in ("cuda", "cuda:1", "cpu"):
        runtime.hold(runtime.budget_of(torch.device(device), limit, None, None))
    assert [card for _, card in told] == [None, 1]
    assert all(isinstance(given, float) and given == pytest.approx(share) for given, _ in told)


def test_the_doctor_sees_a_card_that_torch_was_not_built_for(monkeypatch):
    monkeypatch.setattr("framepack.app.cli.models.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert "this torch is built for CPUs" in verdict_13b(machine())
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert "need a GPU" in verdict_13b(machine())


def test_the_doctor_says_what_a_process_that_reads_uploads_is_not_kept_from():
    assert confinement([]) == "that can reach nothing else"
    assert "not kept from the network, sockets of programs: that takes user namespaces" in confinement(
        ["the network", "sockets of programs"]
    )
