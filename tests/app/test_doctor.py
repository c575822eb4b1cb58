"""What the doctor says of a machine."""

import torch

from framepack.app.cli.models import confinement, verdict_13b
from framepack.memory.probe import Device, DeviceMemory, Machine


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


def test_the_doctor_speaks_of_the_card_that_is_taken_and_names_a_freer_one():
    busy = verdict_13b(machine(card("cuda:0", 10e9), card("cuda:1", 79e9)))
    assert busy.startswith("run on cuda:0, blocks streamed")
    assert busy.endswith("more memory is free on --device cuda:1")
    assert verdict_13b(machine(card("cuda:0", 79e9))) == "run on cuda:0 with everything resident"
    assert "need a GPU" in verdict_13b(machine())


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
