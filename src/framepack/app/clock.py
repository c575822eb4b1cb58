"""Durations as people read them."""


def clock(seconds: float) -> str:
    """1:02:03, 2:03 or 0:03."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
