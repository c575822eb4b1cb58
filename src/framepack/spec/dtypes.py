"""The types a transformer may compute in, by the names people give them. Loads no torch."""

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}
"""What torch calls each."""


def require_dtype(name: str) -> None:
    """ValueError for a name that is none of them."""
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r}")
