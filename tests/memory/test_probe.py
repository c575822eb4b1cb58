import importlib
import mmap

import pytest
import torch

from framepack.memory.probe import available_ram, cpu_has_bf16, disk_free, probe, resident_ram, spare_ram

module = importlib.import_module("framepack.memory.probe")


def test_this_machine_has_a_cpu_memory_and_a_disk(tmp_path):
    machine = probe(tmp_path / "not" / "yet" / "there")
    assert machine.devices[-1].name == "cpu"
    assert machine.best is machine.devices[0]
    assert machine.cores >= 1
    assert 0 < machine.ram_available <= machine.ram_total
    assert machine.disk_free > 0
    assert machine.torch == torch.__version__


def test_memory_that_is_taken_is_seen():
    before = resident_ram()
    with mmap.mmap(-1, 64 << 20) as taken:  # from the system: a tensor may get memory that this process holds already
        for page in range(0, 64 << 20, mmap.PAGESIZE):
            taken[page] = 1
        assert resident_ram() - before > 60 << 20


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("flags : fpu avx512f avx512_bf16 avx2", True),
        ("flags : fpu amx_bf16", True),
        ("Features : fp asimd bf16", True),
        ("flags : fpu avx512f avx2", False),
    ],
)
def test_bf16_in_hardware_is_read_from_the_cpus_flags(monkeypatch, tmp_path, flags, has):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "cpuinfo")
    assert cpu_has_bf16() is has


def test_a_containers_limit_counts_and_its_page_cache_does_not(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 300000\ninactive_file 200000\n")
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    assert available_ram() == 500_000
    assert probe(tmp_path).ram_total == 1_000_000


def test_a_container_without_a_limit_has_the_machines_memory(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    assert available_ram() > 1_000_000


@pytest.mark.parametrize(("available", "spare"), [(24_000, 21_600), (10_000, 8_500), (2000, 500), (1000, 0)])
def test_a_tenth_of_what_is_free_and_a_sixteenth_of_all_ram_are_left_to_others(monkeypatch, available, spare):
    monkeypatch.setattr(module, "_ram", lambda: (24_000, available))
    assert spare_ram() == spare


def test_the_disk_is_the_one_that_will_hold_the_folder(tmp_path):
    assert disk_free(tmp_path / "models") == pytest.approx(disk_free(tmp_path), rel=0.05)
