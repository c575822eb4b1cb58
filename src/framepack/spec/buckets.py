"""Which size a picture is made at: the table of buckets and the choice among them.

Pure integer maths; knows nothing of images. Source: the public FramePack application, whose table is that of base 640.
"""

BUCKETS_640: tuple[tuple[int, int], ...] = (
    (416, 960), (448, 864), (480, 832), (512, 768), (544, 704), (576, 672), (608, 640),
    (640, 608), (672, 576), (704, 544), (768, 512), (832, 480), (864, 448), (960, 416),
)  # fmt: skip
"""(height, width) of the 14 buckets the 13 B models were trained at: about 640 x 640 pixels, from 0.43 to 2.31 wide."""

SMALLEST_BASE, LARGEST_BASE = 64, 2048
Shapes = tuple[tuple[int, int], ...]


def buckets(base: int, table: Shapes = BUCKETS_640, multiple: int = 16) -> Shapes:
    """All (height, width) of `base`, widest first: a table of base 640 scaled and rounded to multiples of `multiple`.

    Raises ValueError unless `base` is one of them in 64..2048.
    """
    if base % multiple or not SMALLEST_BASE <= base <= LARGEST_BASE:
        near = nearest_multiple(min(max(base, SMALLEST_BASE), LARGEST_BASE), multiple)
        raise ValueError(
            f"resolution must be a multiple of {multiple} in {SMALLEST_BASE}..{LARGEST_BASE}, got {base}: try {near}"
        )
    scaled = (tuple(nearest_multiple(round(side * base / 640), multiple) for side in size) for size in table)
    return tuple((height, width) for height, width in dict.fromkeys(scaled))  # small bases round neighbours alike


def find_bucket(
    width: int, height: int, base: int = 640, table: Shapes = BUCKETS_640, multiple: int = 16
) -> tuple[int, int]:
    """The (width, height) to make a picture of `width` x `height` at: the nearest shape, the later one on a tie.

    Note the order: arguments and result are (width, height), the table is (height, width). A square gives 608 x 640.
    """
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    bucket_height, bucket_width = min(
        reversed(buckets(base, table, multiple)), key=lambda bucket: abs(height * bucket[1] - width * bucket[0])
    )
    return bucket_width, bucket_height


def nearest_multiple(size: int, multiple: int = 16) -> int:
    """`size` rounded to the nearest multiple, at least one."""
    return max(multiple, (size + multiple // 2) // multiple * multiple)
