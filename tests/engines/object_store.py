"""A real S3 server on this machine, and a proxy before it that counts requests and lets some of them fail."""

import http.client
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BUCKET = "bucket"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "iadsr", "AWS_SECRET_ACCESS_KEY": "iadsr-secret", "AWS_REGION": "us-east-1"}

Answer = int | str | None
"""Status to answer with, `hang`, or None: let the server answer."""


class ObjectStore:
    """The server and its proxy. The server closes each connection after one request, so the proxy can pass on bytes."""

    def __init__(self, root: Path, port: int):
        self.root = root
        """Where the server keeps the bucket: a folder for each."""
        self.requests: Counter[str] = Counter()
        """Requests so far, by kind."""
        self.fails: Callable[[str, str], Answer] = lambda method, target: None
        """Says what to answer to (method, path with query)."""
        self._ended = threading.Event()
        store = self

        class Proxy(socketserver.BaseRequestHandler):
            def handle(self):
                store._pass_on(self.request, port)

        self._proxy = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
        self._proxy.daemon_threads = True
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        self.environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._proxy.server_address[1]}"}
        """Environment variables for whoever uses the store."""

    def _pass_on(self, client: socket.socket, port: int) -> None:
        beginning = client.recv(1 << 16)
        if not beginning:
            return
        method, target, _ = beginning.split(b"\r\n")[0].decode().split(" ")
        self.requests[kind(method, target)] += 1
        answer = self.fails(method, target)
        if answer == "hang":
            self._ended.wait()
        elif answer is not None:
            client.sendall(f"HTTP/1.1 {answer} no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            client.settimeout(1)
            with suppress(OSError):
                while client.recv(1 << 20):
                    pass
        else:
            with socket.create_connection(("127.0.0.1", port)) as server:
                server.sendall(beginning)
                sending = threading.Thread(target=_pump, args=(client, server), daemon=True)
                sending.start()
                _pump(server, client)

    def close(self) -> None:
        self._ended.set()
        self._proxy.shutdown()
        self._proxy.server_close()

    @property
    def bucket(self) -> Path:
        return self.root / BUCKET

    def objects(self, folder: str = "") -> list[str]:
        """The names of all objects below a folder of the bucket, from the folder on."""
        place = self.bucket / folder
        found = (path for path in place.rglob("*") if path.is_file())
        return sorted(path.relative_to(place).as_posix() for path in found if ".sgwtmp" not in path.parts)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(1 << 20):
            target.sendall(block)


def kind(method: str, target: str) -> str:
    """Names a request as S3's documentation does."""
    path, _, query = target.partition("?")
    is_object = path.strip("/").count("/") > 0
    if "uploadId=" in query or query.startswith("uploads"):
        ends = {"POST": "CompleteMultipartUpload", "PUT": "UploadPart", "DELETE": "AbortMultipartUpload"}
        return "CreateMultipartUpload" if query.startswith("uploads") else ends.get(method, method)
    if not is_object:
        return {"GET": "ListObjects", "POST": "DeleteObjects", "HEAD": "HeadBucket"}.get(method, method)
    return {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}.get(method, method)


@contextmanager
def serve(program: Path, folder: Path, port: int) -> Iterator[tuple[Path, int]]:
    """Starts versitygw with an empty bucket. It is ended by its process id.

    Without `--keep-alive`: with it, version 1.8 answers 400 now and then after an upload.
    """
    root, meta = folder / "root", folder / "meta"
    (root / BUCKET).mkdir(parents=True)
    meta.mkdir()
    environment = {
        **os.environ,
        "ROOT_ACCESS_KEY": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_KEY": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }
    flags = ["--quiet", "--access-log", str(folder / "access.log"), "--port", f"127.0.0.1:{port}"]
    with (folder / "server.log").open("wb") as log:
        command = [str(program), *flags, "posix", "--sidecar", str(meta), str(root)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                server.request("GET", "/")
                server.getresponse().read()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield root, port
    finally:
        process.terminate()
        process.wait(20)
