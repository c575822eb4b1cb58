from hypothesis import given
from hypothesis import strategies as st

from framepack.memory.placement import Resident, Streamed, place, spread

SIZES = st.lists(st.integers(0, 500), min_size=2, max_size=60)


@given(SIZES, st.integers(-100, 20000))
def test_a_placement_never_takes_more_than_the_room_unless_two_slots_do_not_fit(sizes, room):
    placement = place(sizes, room)
    assert placement.device_bytes <= max(room, 2 * max(sizes), 0)


@given(SIZES, st.integers(0, 20000))
def test_each_block_either_stays_or_streams(sizes, room):
    placement = place(sizes, room)
    if isinstance(placement, Resident):
        assert placement.device_bytes == sum(sizes) <= room
    else:
        kept = sum(sizes[i] for i in placement.resident)
        assert placement.streamed_bytes in (0, sum(sizes) - kept)
        assert 1 <= placement.slots <= 3


def test_room_for_one_more_block_never_streams_more():
    sizes = [453] * 20 + [226] * 40
    for room in range(0, 20000, 50):  # a third slot may cost a block that stayed
        less, more = (getattr(place(sizes, r), "streamed_bytes", 0) for r in (room, room + max(sizes)))
        assert more <= less


def test_blocks_that_stay_are_spread_evenly():
    assert spread([1] * 8, 4) == (1, 3, 5, 7)
    assert spread([1] * 9, 3) == (2, 5, 8)
    assert spread([1] * 4, -1) == ()


def test_one_piece_cannot_be_streamed():
    assert place([100], 10) == Resident(device_bytes=100)
    assert isinstance(place([100, 100], 10), Streamed)
