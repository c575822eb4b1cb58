"""docs/formats.md says what the table of formats says."""

from pathlib import Path

from framepack.spec.formats import CODECS, FORMATS

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
BITS = {"ffv1-16": 16, "prores": 10, "prores4444": 10, "tiff": 16, "exr": 32}


def rows() -> list[str]:
    lines = []
    for form, row in FORMATS.items():
        for index, codec in enumerate(row.codecs):
            facts = CODECS[codec]
            sizes = ", ".join(
                filter(None, ("even" if facts.even else "", f"{facts.least} and more" * (facts.least > 1)))
            )
            heeded = ("yes" if facts.crf else "no", "yes" if facts.bitrate else "no", facts.lossless, sizes or "any")
            first = f"| {form} | {row.suffix} " if index == 0 else "| | "
            lines.append(f"{first}| {codec} | {BITS.get(codec, 8)} | {' | '.join(heeded)} |")
    return lines


def test_the_page_has_the_table() -> None:
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert table[1 : 1 + len(rows())] == rows()
    assert {codec for codec, row in CODECS.items() if row.wide} == set(BITS)
