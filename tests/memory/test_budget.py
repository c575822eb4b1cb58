import pytest
import torch

from framepack.memory import budget
from framepack.memory.budget import GB, Budget, default_preserve
from framepack.memory.probe import DeviceMemory
from framepack.spec.machine import parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GB", 6 * GB),
        ("6 GiB", 6 << 30),
        ("0.5gb", GB // 2),
        ("512MB", 512_000_000),
        ("1k", 1000),
        ("123", 123),
        (" 2 TiB ", 2 << 40),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "six", "6XB", "-1GB", "GB", "1.2.3", "nan", "inf"])
def test_other_sizes_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="a size must look like 6GB"):
        parse_bytes(text)


def test_negative_limits_are_refused():
    with pytest.raises(ValueError, match="vram-limit must be at least 0 bytes, got -1"):
        Budget(device=torch.device("cpu"), vram_limit=-1)


def test_the_preserved_amount_is_the_public_applications_on_usual_cards():
    assert [default_preserve(n * GB) // GB for n in (12, 16, 24)] == [6, 6, 6]
    assert all(0 < default_preserve(n * GB) <= max(n * GB // 2, 6 * GB) for n in range(1, 200))
    assert default_preserve(141 * GB) == 12 * GB


def test_work_that_says_what_it_needs_is_believed_unless_the_user_wants_more():
    device = torch.device("cpu")
    assert Budget(device=device, vram_limit=24 * GB).reserve(2 * GB) == 2 * GB
    assert Budget(device=device, vram_limit=24 * GB).reserve(0) == 6 * GB
    assert Budget(device=device, vram_limit=24 * GB, preserve=3 * GB).reserve(2 * GB) == 3 * GB
    assert Budget(device=device, vram_limit=24 * GB, preserve=GB).reserve(2 * GB) == 2 * GB


@pytest.mark.parametrize(("limit", "capacity"), [(None, 7 * GB), (6 * GB, 6 * GB), (8 * GB, 7 * GB)])
def test_a_card_offers_what_is_free_and_what_is_ours_within_the_limit(monkeypatch, limit, capacity):
    card = DeviceMemory(total=8 * GB, free=5 * GB, allocated=GB, reserved=2 * GB)
    monkeypatch.setattr(budget, "device_memory", lambda device: card)
    assert Budget(device=torch.device("cuda"), vram_limit=limit).capacity() == capacity
    assert Budget(device=torch.device("cuda")).others(weights=GB // 4) == GB - GB // 4


def test_a_ram_limit_counts_what_the_process_holds_already(monkeypatch):
    monkeypatch.setattr(budget, "resident_ram", lambda: 2 * GB)
    monkeypatch.setattr(budget, "available_ram", lambda: 10 * GB)
    monkeypatch.setattr(budget, "spare_ram", lambda: 9 * GB)
    assert Budget(device=torch.device("cuda"), ram_limit=6 * GB).host_free() == 4 * GB
    assert Budget(device=torch.device("cuda")).host_free() == 9 * GB
    on_host = Budget(device=torch.device("cpu"), ram_limit=6 * GB)
    assert (on_host.capacity(), on_host.others(GB), on_host.host_free()) == (6 * GB, GB, 0)


def test_a_full_host_is_not_filled_to_its_end(monkeypatch):
    monkeypatch.setattr(budget, "resident_ram", lambda: 20 * GB)
    monkeypatch.setattr(budget, "available_ram", lambda: 2 * GB)
    monkeypatch.setattr(budget, "spare_ram", lambda: GB // 2)
    assert Budget(device=torch.device("cuda")).host_free() == GB // 2
    assert Budget(device=torch.device("cuda"), ram_limit=24 * GB).host_free() == GB // 2
    assert Budget(device=torch.device("cpu"), ram_limit=24 * GB).capacity() == 21 * GB
