"""The report in a real browser: what comes from the data stays text there, and nothing is asked of the network."""

import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from iadsr.pipeline import clean
from iadsr.pipeline.report.render import render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")


def attacks(port: int) -> list[str]:
    """Texts each of which, unescaped, changes the title of the page or asks a local server for something."""
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
    """A server on this machine, and the paths that it was asked for."""
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
    """Returns the page's document as it is after its scripts, if any, have run."""
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=3000"]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
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
    count = {"read": 1, "kept": 1, "dropped": 0, "rejected": 0}
    manifest |= {
        "files": [{"path": attack, **count} for attack in hostile],
        "skipped_files": [{"path": attack, "rows": None, "code": attack, "reason": attack} for attack in hostile],
        "options": {attack: attack for attack in hostile},
        "versions": {attack: attack for attack in hostile},
        "model": {"path": hostile[0], "fingerprint": hostile[1], "backbone": hostile[2], "metrics": {hostile[3]: 1}},
    }
    manifest["reasons"]["rejected"] = dict.fromkeys(hostile, 1)
    shown = {"timestamp": "1", "keep": True, "reason": None, "noise_probability": 0.5}
    examples = [
        {"user_id": attack, "interactions": [{"item_id": attack, "text": attack, **shown}]} for attack in hostile
    ]
    document = visit(render_report(manifest, examples), tmp_path)
    assert "PWNED</title>" not in document
    assert "iadsr cleaning report" in document
    assert "&lt;script&gt;document.title='PWNED'&lt;/script&gt;" in document
    assert paths == []
