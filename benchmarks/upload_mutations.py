"""300 random mutations of a file of each kind, handed in over HTTP: each is accepted or refused with 4xx, never 5xx.

python benchmarks/upload_mutations.py [--count 300]
"""

import argparse
import io
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.pool import PoolConfig
from framepack.media.video import VideoWriter


def picture(kind: str) -> bytes:
    """A small noisy picture."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def video(folder: Path, suffix: str) -> bytes:
    """A small video."""
    file = folder / f"v{suffix}"
    with VideoWriter(file, fps=10, size=(32, 32), metadata='{"request": {"image": "a.png"}}') as writer:
        writer.write(np.zeros((8, 32, 32, 3), np.uint8))
    return file.read_bytes()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, inserted or removed, sometimes cut short."""
    bad = bytearray(data)
    for _ in range(chance.randint(1, 40)):
        at = chance.randrange(len(bad))
        match chance.randrange(4):
            case 0:
                del bad[at : at + chance.randint(1, 20)]
            case 1:
                bad[at:at] = chance.randbytes(chance.randint(1, 20))
            case _:
                bad[at] = chance.randrange(256)
        bad = bad or bytearray(b"x")
    return bytes(bad[: chance.randint(1, len(bad))]) if chance.random() < 0.2 else bytes(bad)


def main() -> int:
    """Print how each kind fared; exit code 1 where anything but 201 and 4xx came back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    count = parser.parse_args().count
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {kind: picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")}
        files |= {suffix: video(folder, suffix) for suffix in (".mp4", ".mkv", ".webm", ".gif", ".webp", ".zip")}
        service = Service(folders_at(folder / "outputs"), PoolConfig(target="none:none", workers=[]))
        with (
            service,
            TestClient(make_app(service, Access()), "http://localhost", raise_server_exceptions=False) as http,
        ):
            for kind, data in files.items():
                chance = random.Random(kind)
                found = Counter(
                    http.post("/api/uploads", files={"file": ("x", mutated(data, chance))}).status_code
                    for _ in range(count)
                )
                good &= all(status == 201 or 400 <= status < 500 for status in found)
                print(f"{kind:6} {dict(found)}", flush=True)
            good &= http.get("/api/health").status_code == 200
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
