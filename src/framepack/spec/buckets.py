"""Which size a picture is made at: the table of buckets and the choice among them.

Pure integer maths; knows nothing of images. Source: the public FramePack application, whose table is that of base 640.
"""

BUCKETS_640: tuple[tuple[int, int], ...] = (
    (416, 960), (448, 864), (480, 832), (512, 768), (544, 704), (576, 672), (608, 640),
    (640, 608), (672, 576), (704, 544), (768, 512), (832, 480), (864, 448), (960, 416),
)  # fmt: skip
"""(height, width) of the 14 buckets the 13 B models were trained at: about 640 x 640 pixels, from 0.43 to 2.31 wide."""

MULTIPLE = 16
"""Height and width are multiples of this: 8x in the VAE, then patches of 2x2 latents."""
SMALLEST_BASE, LARGEST_BASE = 64, 2048


def buckets(base: int) -> tuple[tuple[int, int], ...]:
    """All (height, width) of `base`, widest first: the table of 640 scaled and rounded to multiples of 16.

    Raises ValueError unless `base` is a multiple of 16 in 64..2048.
    """
    if base % MULTIPLE or not SMALLEST_BASE <= base <= LARGEST_BASE:
        raise ValueError(
            f"resolution must be a multiple of {MULTIPLE} in {SMALLEST_BASE}..{LARGEST_BASE}, got {base}: "
            f"try {nearest_multiple(min(max(base, SMALLEST_BASE), LARGEST_BASE))}"
        )
    scaled = ((_scale(height, base), _scale(width, base)) for height, width in BUCKETS_640)
    return tuple(dict.fromkeys(scaled))  # small bases round neighbours to the same size


def find_bucket(width: int, height: int, base: int = 640) -> tuple[int, int]:
    """The (width, height) to make a picture of `width` x `height` at: the nearest shape, the later one on a tie.

    Note the order: arguments and result are (width, height), the table is (height, width). A square gives 608 x 640.
    """
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    candidates = buckets(base)
    bucket_height, bucket_width = min(
        reversed(candidates), key=lambda bucket: abs(height * bucket[1] - width * bucket[0])
    )
    return bucket_width, bucket_height


def nearest_multiple(size: int) -> int:
    """`size` rounded to the nearest multiple of 16, at least 16."""
    return max(MULTIPLE, (size + MULTIPLE // 2) // MULTIPLE * MULTIPLE)


def _scale(size: int, base: int) -> int:
    return nearest_multiple(round(size * base / 640))
