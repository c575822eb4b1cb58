"""Fetches torch's CUDA wheel and the runtime's headers into a folder outside the repository, and builds the card there.

    python tests/fake_cuda/build.py ~/fake-gpu

About 2 GB of disk, 0.6 of download. None of NVIDIA's libraries are needed: what torch's own want of them and
`fake_cuda.cpp` does not define is made a stub, and each library is an empty one of its name that leads to
the card.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

HERE = Path(__file__).parent
TORCH = "torch===2.13.0"  # === leaves out the CPU's build
HEADERS = ("nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88")
THEIRS = re.compile(r"(__cuda|cu|nv|nccl)\w*")
NOT_HERE = re.compile("cuda(Graph|Ipc|Library|Mem|Malloc|Free|StreamBegin|StreamEnd)")
"""Stubs that say they are not supported; the others have nothing to do."""
LIBRARY = re.compile(r"lib(cu|nv|nccl)\S*")


def fetch(requirements: tuple[str, ...], folder: Path) -> None:
    """Unpack wheels into a folder, without what they depend on."""
    if folder.exists():
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as wheels:
        options = ["--no-deps", "--only-binary", ":all:", "--dest", wheels]
        options += [f"--platform={kind}_x86_64" for kind in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *options, *requirements], check=True)
        for wheel in Path(wheels).glob("*.whl"):
            ZipFile(wheel).extractall(folder)


def output(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def symbols(library: Path, *options: str) -> set[str]:
    """Names a library defines, or wants."""
    lines = output("nm", "--dynamic", "--format=posix", *options, library).splitlines()
    return {line.split()[0].partition("@")[0] for line in lines}


def build(home: Path) -> None:
    """Make libfake_cuda.so, and an empty library for each of NVIDIA's that torch's name."""
    torch = sorted((home / "site" / "torch" / "lib").glob("lib*.so"))
    includes = [f"-I{path.parent}" for path in (home / "headers").rglob("cuda_runtime_api.h")]
    compiler = ["g++", "-O2", "-shared", "-fPIC", "-std=c++17", "-w"]
    real, card = home / "runtime.o", home / "libfake_cuda.so"
    output(*[option for option in compiler if option != "-shared"], *includes, "-c", HERE / "fake_cuda.cpp", "-o", real)
    output(*compiler, real, "-o", card)
    wanted = set.union(*(symbols(library, "--undefined-only") for library in torch))
    defined = set.union(*(symbols(library, "--defined-only") for library in (*torch, card)))
    missing = sorted(name for name in wanted - defined if THEIRS.fullmatch(name))
    stubs = home / "stubs.c"
    lines = [f"int {name}() {{ return {801 if NOT_HERE.match(name) else 0}; }}" for name in missing]
    stubs.write_text("\n".join([*ALWAYS, *lines]) + "\n", encoding="utf-8")
    output("gcc", "-w", "-fPIC", "-c", stubs, "-o", home / "stubs.o")
    output(*compiler, "-Wl,-soname,libfake_cuda.so", real, home / "stubs.o", "-o", card)
    needed = re.findall(r"\(NEEDED\).*\[(\S+)\]", "".join(output("readelf", "--dynamic", one) for one in torch))
    for name in sorted({*filter(LIBRARY.match, needed), "libcuda.so.1", "libnvidia-ml.so.1"}):
        output(*compiler, f"-Wl,--no-as-needed,-soname,{name}", card, "-o", home / name)


ALWAYS = [
    f"int {name}() {{ return 0; }}"
    for name in (
        "nvmlInit_v2",
        "nvmlDeviceGetHandleByPciBusId_v2",
        "nvmlDeviceGetNvLinkRemoteDeviceType",
        "nvmlDeviceGetNvLinkRemotePciInfo_v2",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlSystemGetCudaDriverVersion_v2",
        "nvmlErrorString",
    )
] + ["int nvmlDeviceGetGpuFabricInfoV() { return 3; }"]  # not supported
"""What torch looks up by name."""


if __name__ == "__main__":
    where = Path(sys.argv[1]).expanduser().absolute()
    where.mkdir(parents=True, exist_ok=True)
    fetch((TORCH,), where / "site")
    fetch(HEADERS, where / "headers")
    build(where)
    print(where)
