"""`framepack models verify`: reads a variant's files to the end, against their checksums where these are known.

Where none is, the numbers themselves are looked at, and the file's own checksum is kept for the next time. Boundary:
reports what it found; repairs nothing.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from framepack.models.checkpoint import CheckpointError, some, weight_files
from framepack.models.families import FAMILIES
from framepack.models.family import Component
from framepack.models.weight_data import findings
from framepack.spec.variants import Variant
from framepack.weights.sources import ModelSource, Place, locate
from framepack.weights.sums import (
    ReportBytes,
    Stamp,
    Stamps,
    check_sum,
    checksum,
    gone,
    known_sum,
    lacking,
    model_files,
)


@dataclass(kw_only=True)
class Verdict:
    """What was found about one part."""

    part: str
    path: Path | None
    problems: list[str] = field(default_factory=list)
    """A sentence each; none where no damage was found."""
    remarks: list[str] = field(default_factory=list)
    """What may be damage, and may be how the model was made."""
    right: int = 0
    """Files that are what their known checksum says."""
    unknown: int = 0
    """Files of which no checksum is known: what was looked at is said in `looked_at`."""
    unchanged: int = 0
    """Of these, files that are as an earlier check found them."""

    @property
    def summary(self) -> str:
        """One line on what was checked."""
        said = [f"{self.right} files are what their checksums say"] if self.right else []
        if self.unchanged:
            said.append(f"{self.unchanged} of unknown checksum are as they were when last verified")
        if new := self.unknown - self.unchanged:
            said.append(
                f"no checksum is known of {new} files: names, shapes, types and sizes fit and no NaN is in them, but "
                "other numbers would not be noticed"
            )
        return "; ".join(said)


def verify(variant: Variant, source: ModelSource, report: ReportBytes | None = None) -> Iterator[Verdict]:
    """Check a variant part by part, and stamp the files found right. report: called with the bytes read."""
    for part, place in components_of(variant, source):
        verdict = Verdict(part=part.title, path=place.path)
        if place.path is None:
            verdict.problems.append(f"{place.repository.repo} is nowhere")
        else:
            _check(part, place.path, verdict, source.stamps, report)
        yield verdict


def bytes_to_read(variant: Variant, source: ModelSource) -> int:
    """Bytes that `verify` will report, about: files without a known checksum are read twice."""
    sizes = [
        file.stat().st_size * (1 if known_sum(file) else 2)
        for part, place in components_of(variant, source)
        if place.path is not None
        for file in files_of(part, place.path)
    ]
    return sum(sizes)


def components_of(variant: Variant, source: ModelSource) -> list[tuple[Component, Place]]:
    """The components of a variant, and where each is."""
    places = {place.repository.name: place for place in locate(variant, source)}
    return [(part, places[part.place]) for part in FAMILIES[variant.family].components]


def files_of(part: Component, path: Path) -> list[Path]:
    """The part's files: weights that are used, and all small ones. Fewer where a folder is damaged."""
    files = []
    for name in part.folders:
        folder = path / name
        weights: list[Path] = []
        if name in part.weights:
            with suppress(CheckpointError):
                weights = weight_files(folder)
        files += [file for file in model_files(folder) if file in weights or file.suffix != ".safetensors"]
    return [*files, *filter(Path.is_file, beside(part, path))]


def beside(part: Component, path: Path) -> list[Path]:
    """What the part may have in the root of its place."""
    return [path / name for name in part.beside]


def _check(part: Component, path: Path, verdict: Verdict, stamps: Stamps, report: ReportBytes | None) -> None:
    problems = verdict.problems
    missing = [*(file for folder in part.folders for file in lacking(path / folder)), *filter(gone, beside(part, path))]
    problems += [f"{file} is missing, though a checksum is known of it" for file in missing]
    right: dict[Path, Stamp] = {}
    for file in files_of(part, path):
        try:
            right[file] = _check_file(file, verdict, stamps, report)
        except (CheckpointError, OSError) as error:
            problems.append(str(error))
    if not problems:  # a damaged file's header would only be reported again
        try:
            part.check(path)
        except (CheckpointError, OSError) as error:
            problems.append(str(error))
    if not problems:
        with suppress(OSError):  # a cache that cannot be written to costs another check
            stamps.add(right)


def _check_file(file: Path, verdict: Verdict, stamps: Stamps, report: ReportBytes | None) -> Stamp:
    """The stamp of a file that is right; CheckpointError for one that is not."""
    before, known, now = stamps.of(file), known_sum(file), file.stat()
    if known is not None:
        check_sum(file, known, report)
        verdict.right += 1
        digest = known
    else:
        verdict.unknown += 1
        digest = checksum(file, report=report)
        if before is not None and before.fits(file):
            if digest != before.sha256:
                raise CheckpointError(
                    f"{file} has changed since it was verified, though its size and time are the same: the disk may "
                    "be failing; copy it again"
                )
            verdict.unchanged += 1
        if file.suffix == ".safetensors":
            found = list(findings(file, report))
            if certain := [finding.said for finding in found if finding.certain]:
                raise CheckpointError(f"{file} is damaged: {some(certain, 2)}; copy it again")
            if found:
                said = some([finding.said for finding in found], 2)
                verdict.remarks.append(f"{file} has blank blocks: {said}; some models have them, and failed copies")
    return Stamp(size=now.st_size, mtime_ns=now.st_mtime_ns, sha256=digest, when=time.time())
