"""Variables of the environment that make no sense: the page starts all the same, and a download says which it is."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from framepack.files.environment import leave_out_wrong_numbers, without
from framepack.weights.hub import HubError, check_connection

COMMAND = [sys.executable, "-c", "from framepack.app.cli.main import main; main()"]
WRONG = {
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "HTTP_PROXY": "http://[::bad",
    "HTTPS_PROXY": "garbage",
    "NO_PROXY": "[::1",
    "SSL_CERT_FILE": "/nonexistent/ca.pem",
    "SSLKEYLOGFILE": "/nonexistent/keys",
    "GRADIO_SERVER_PORT": "abc",
    "GRADIO_TEMP_DIR": "/proc/nowhere",
    "HF_HUB_DOWNLOAD_TIMEOUT": "soon",
    "TQDM_MININTERVAL": "often",
    "WEB_CONCURRENCY": "many",
    "LC_ALL": "xx_YY.nonsense",
    "PYTHONIOENCODING": "ascii",
    "COLUMNS": "wide",
    "TERM": "",
    "OMP_NUM_THREADS": "-1",
    "MPLBACKEND": "nonsense",
}
MORE = [
    *("all_proxy=socks5h://127.0.0.1:9", "ALL_PROXY=ftp://x", "HTTP_PROXY=http://a:b@c:99999", "no_proxy=*,,;"),
    *("SSL_CERT_DIR=/nonexistent", "REQUESTS_CA_BUNDLE=/nonexistent", "GRADIO_ROOT_PATH=:::", "GRADIO_SHARE=True"),
    *("GRADIO_ALLOWED_PATHS=/", "GRADIO_MCP_SERVER=True", "SYSTEM=spaces", "SPACE_ID=a/b", "HF_HUB_OFFLINE=perhaps"),
    *("HF_HUB_ETAG_TIMEOUT=x", "HF_HUB_VERBOSITY=loudly", "HF_HOME=/etc/passwd", "HF_HUB_CACHE=/proc/nowhere"),
    *("HF_ENDPOINT=not a url", "HF_TOKEN=\u2603", "TRANSFORMERS_VERBOSITY=loudly", "DIFFUSERS_VERBOSITY=loudly"),
    *("USE_TORCH=0", "USE_TF=1", "LC_ALL=C", "LANG=de_DE@euro", "PYTHONUTF8=0", "PYTHONIOENCODING=utf-16", "TZ=Mars"),
    *("PYTHONOPTIMIZE=2", "TERM=dumb", "COLUMNS=0", "COLUMNS=-5", "LINES=x", "FORCE_COLOR=x", "TMPDIR=/nonexistent"),
    *("HOME=/nonexistent", "HOME=", "HOME=relative", "XDG_CACHE_HOME=/proc/x", "MPLCONFIGDIR=/proc/x", "TORCH_LOGS=x"),
    *("OMP_NUM_THREADS=abc", "OMP_NUM_THREADS=0", "MKL_NUM_THREADS=abc", "KMP_AFFINITY=bad", "TORCH_HOME=/proc/x"),
    *("CUDA_VISIBLE_DEVICES=abc", "WORLD_SIZE=4", "RANK=0", "WORLD_SIZE=abc", "MASTER_PORT=abc", "UVICORN_PORT=abc"),
    *("WEB_CONCURRENCY=4", "FORWARDED_ALLOW_IPS=*", "TQDM_DISABLE=x", "PILLOW_BLOCK_SIZE=x", "PYTHONWARNINGS=error"),
    *("PYTHONPYCACHEPREFIX=/proc/x", "PYTHONHASHSEED=random", "TYPER_USE_RICH=x", "_FRAMEPACK_COMPLETE=nonsense"),
]
SLOW = 120.0


def page_of(folder: Path, variables: dict[str, str]) -> tuple[str, str]:
    """The page of a service started so, and what it said; the service is ended."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    command = [*COMMAND, "serve", "--port", "0", "--outputs", str(folder / "outputs")]
    log = folder / "log"
    with log.open("wb") as said:
        service = subprocess.Popen(command, env=inherited | variables, stdout=said, stderr=said, cwd=folder)
    try:
        until = time.monotonic() + SLOW
        while not (found := re.search(r"http://[\d.]+:\d+", text_of(log))):
            assert service.poll() is None, text_of(log)
            assert time.monotonic() < until
            time.sleep(0.1)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(found.group(), timeout=SLOW).read().decode(), text_of(log)
    finally:
        service.terminate()
        service.wait(30)


def text_of(log: Path) -> str:
    return log.read_bytes().decode(errors="replace").replace("\0", "")


def test_the_page_starts_with_everything_around_it_wrong(tmp_path: Path) -> None:
    page, said = page_of(tmp_path, WRONG)
    assert "<gradio-app" in page or "gradio" in page
    assert "Traceback" not in said


@pytest.mark.proof
@pytest.mark.parametrize("variable", [*(f"{name}={value}" for name, value in WRONG.items()), *MORE])
def test_the_page_starts_with_any_of_it_wrong(tmp_path: Path, variable: str) -> None:
    name, _, value = variable.partition("=")
    page, said = page_of(tmp_path, {name: value})
    assert "gradio" in page
    unclosed = said.count("Exception ignored in: ") if name == "PYTHONWARNINGS" else 0  # Gradio's own event loops
    assert said.count("Traceback") == unclosed


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "http://[::bad"),
        ("ALL_PROXY", "ftp://x"),
        ("SSL_CERT_FILE", "/nonexistent"),
    ],
)
def test_what_no_download_could_go_through_is_named(monkeypatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(HubError, match=f"{variable}.*fix or unset") as caught:
        check_connection()
    assert len(str(caught.value)) < 300


def test_a_download_through_socks_is_possible(monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    check_connection()


def test_numbers_that_are_none_are_left_out_with_a_sentence(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "soon")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "30")
    said: list[str] = []
    leave_out_wrong_numbers(said.append)
    assert "HF_HUB_ETAG_TIMEOUT" not in os.environ
    assert os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] == "30"
    assert said == ["note: HF_HUB_ETAG_TIMEOUT of the environment is no number ('soon') and is left out"]


def test_hidden_variables_come_back_and_those_set_meanwhile_go(monkeypatch) -> None:
    monkeypatch.setenv("all_proxy", "x")
    with without(".*_PROXY"):
        assert "all_proxy" not in os.environ
        os.environ["HTTP_PROXY"] = "y"
    assert os.environ["all_proxy"] == "x"  # noqa: SIM112
    assert "HTTP_PROXY" not in os.environ
