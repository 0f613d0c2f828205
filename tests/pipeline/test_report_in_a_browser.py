"""The report in a real browser: text from the data stays text, and the page asks nothing of the network."""

import dataclasses
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from iadsr.pipeline import clean
from iadsr.pipeline.report.render import render_report
from iadsr.transforms.read.input_plan import SkippedFile
from iadsr.transforms.run.manifest import ModelOrigin

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install the Debian package chromium")
# As root it runs without a sandbox. The others stop traffic of its own and questions of a first start.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
]


def attacks(port: int) -> list[str]:
    """Returns texts that, if they are not escaped, change the title of the page or ask a local server for something."""
    runs = "document.title='PWNED'"
    return [
        f"<script>{runs}</script>",
        f'"><img src=x onerror="{runs}">',
        f"'><svg onload={runs}>",
        f"</title></style></textarea><script>{runs}</script>",
        f'" autofocus tabindex=1 onfocus="{runs}" x="',
        f"<iframe srcdoc='<script>parent.{runs}</script>'></iframe>",
        f"<!--><script>{runs}</script>",
        f"</bdi></article></body><script>{runs}</script>",
        f"<img src=http://127.0.0.1:{port}/image>",
        f"<style>*{{background:url(http://127.0.0.1:{port}/style)}}</style>",
        f"<link rel=stylesheet href=http://127.0.0.1:{port}/link>",
        f"<meta http-equiv=refresh content='0;url=http://127.0.0.1:{port}/refresh'>",
    ]


@pytest.fixture
def asked():
    """The port of a server on this machine, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, paths
        server.shutdown()


def visit(page: str, tmp_path: Path) -> str:
    """Returns the page's document after its scripts have run, if it has any."""
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    result = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return result.stdout


@pytest.mark.parametrize("number", [0, 1, 8])
def test_the_attacks_work_where_nothing_is_escaped(asked, tmp_path, number):
    port, paths = asked
    document = visit(f"<html><body>{attacks(port)[number]}</body></html>", tmp_path)
    assert "PWNED</title>" in document or paths


def test_no_text_from_the_data_runs_or_asks_for_anything(world, asked, tmp_path):
    port, paths = asked
    settings = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    manifest = clean(output=tmp_path / "out", drop_rate=0.05, **settings).manifest
    assert manifest is not None
    hostile = attacks(port)
    file = manifest.files[0]
    manifest = dataclasses.replace(
        manifest,
        files=tuple(dataclasses.replace(file, path=attack) for attack in hostile),
        skipped_files=tuple(SkippedFile(attack, 1, None, attack, attack) for attack in hostile),
        options=dict(zip(hostile, hostile, strict=True)),
        versions=dict(zip(hostile, hostile, strict=True)),
        model=ModelOrigin(hostile[0], hostile[1], hostile[2], {hostile[3]: 1}),
        reasons=dataclasses.replace(manifest.reasons, rejected=dict.fromkeys(hostile, 1)),
    )
    shown = {"timestamp": "1", "keep": True, "reason": None, "noise_probability": 0.5}
    examples = [
        {"user_id": attack, "interactions": [{"item_id": attack, "text": attack, **shown}]} for attack in hostile
    ]
    document = visit(render_report(manifest, examples), tmp_path)
    assert "PWNED</title>" not in document
    assert "iadsr cleaning report" in document
    assert "&lt;script&gt;document.title='PWNED'&lt;/script&gt;" in document
    assert paths == []
