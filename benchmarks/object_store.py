"""Measures what it costs `iadsr clean` to read from an S3 server and write to it, against the same run on this machine.

    go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
    python -m benchmarks.object_store --work DIRECTORY --rows 10000000 --versitygw $(go env GOPATH)/bin/versitygw

Both runs clean the log of `throughput`, cut into files, in a process of their own. The server runs on this machine too:
its CPU seconds are told apart from those of the run. The outputs are compared byte by byte.
"""

import argparse
import hashlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from .clusters import free_port
from .throughput_work import ROW_GROUP, Paths, prepare

BUCKET = "bucket"
CPU_TARGET, WALL_TARGET, REQUESTS_TARGET = 1.2, 1.3, 3.0
KEYS = {"AWS_ACCESS_KEY_ID": "iadsr", "AWS_SECRET_ACCESS_KEY": "iadsr-secret", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    cpu_seconds: float
    """Of the run and its children, without the server."""
    wall_seconds: float
    """From its start to its end."""


class Server:
    """A versitygw that counts requests in its access log."""

    def __init__(self, program: str, folder: Path):
        """Starts it with a bucket in `folder`."""
        shutil.rmtree(folder, ignore_errors=True)
        self.bucket, self._log, meta = folder / "root" / BUCKET, folder / "access.log", folder / "meta"
        self.bucket.mkdir(parents=True)
        meta.mkdir()
        port = free_port()
        keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        flags = ["--quiet", "--access-log", str(self._log), "--port", f"127.0.0.1:{port}"]
        command = [program, *flags, "posix", "--sidecar", str(meta), str(folder / "root")]
        self.process = subprocess.Popen(command, env={**os.environ, **keys}, stdout=subprocess.DEVNULL)
        self.environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)

    def requests(self) -> Counter[str]:
        """Returns how many requests of each kind were made so far."""
        lines = self._log.read_text().splitlines()
        return Counter(word for line in lines for word in line.split() if word.startswith("s3_"))

    def end(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait()


def clean(log: str, embeddings: str, model: str, output: str, workers: int, environment: dict[str, str]) -> Cost:
    """Runs `iadsr clean` in a process of its own."""
    inputs = ["--interactions", log, "--embeddings", embeddings, "--model", model, "--output", output]
    command = [sys.executable, "-m", "iadsr.pipeline", "clean", *inputs, "--direct_num_workers", str(workers)]
    before, started = _children(), time.perf_counter()
    subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    return Cost(_children() - before, time.perf_counter() - started)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cut(paths: Paths, files: int) -> Path:
    """Writes the log as several files."""
    folder = Path(paths.work) / f"log-{paths.rows}-{paths.items}-in-{files}"
    if not folder.exists():
        log, unfinished = pq.read_table(paths.log), folder.with_suffix(".unfinished")
        unfinished.mkdir(exist_ok=True)
        size = -(-len(log) // files)
        for number in range(files):
            part = log.slice(number * size, size)
            pq.write_table(part, unfinished / f"part-{number:05d}.parquet", row_group_size=ROW_GROUP)
        unfinished.rename(folder)
    return folder


def tables_of(root: Path) -> dict[str, str]:
    """Returns every Parquet file below a directory, with a hash of its bytes."""
    found = sorted(root.rglob("*.parquet"))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="directory for logs, models and outputs")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--files", type=int, default=8, help="files of the log")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--versitygw", default="versitygw", help="the program")
    options = parser.parse_args()
    paths = Paths(options.work, options.rows, options.items)
    prepare(paths)
    log = cut(paths, options.files)
    shutil.rmtree(paths.output, ignore_errors=True)
    here = clean(str(log), paths.embeddings, paths.model, paths.output, options.workers, {})
    server = Server(options.versitygw, Path(options.work) / "store")
    try:
        for source in (log, Path(paths.embeddings), Path(paths.model)):
            shutil.copytree(source, server.bucket / source.name)
        names = (log.name, Path(paths.embeddings).name, Path(paths.model).name, "output")
        source, embeddings, model, output = (f"s3://{BUCKET}/{name}" for name in names)
        there = clean(source, embeddings, model, output, options.workers, server.environment)
        requests = server.requests()
    finally:
        before = _children()
        server.end()
        served = _children() - before
    same = tables_of(Path(paths.output)) == tables_of(server.bucket / "output")
    shards = len(list((server.bucket / "output" / "interactions").iterdir()))
    # Of each shard: the table after the rules, the scored one, interactions, sequences and users.
    files = options.files + 5 * shards
    total = sum(requests.values())
    print(f"{options.rows:,} rows in {options.files} files, {shards} shards, {options.workers} workers")
    print("| | this machine | S3 | ratio | target |\n| --- | --- | --- | --- | --- |")
    for name, one, other, target in (
        ("CPU seconds", here.cpu_seconds, there.cpu_seconds, CPU_TARGET),
        ("wall seconds", here.wall_seconds, there.wall_seconds, WALL_TARGET),
    ):
        print(f"| {name} | {one:.1f} | {other:.1f} | {other / one:.2f} | {target} |")
    print(
        f"| requests for {files:,} files | | {total:,} | {total / files:.1f} | {REQUESTS_TARGET:.0f}, and a constant |"
    )
    print(f"The server took {served:.1f} CPU seconds beside that. The same bytes: {same}.")
    print(", ".join(f"{name.removeprefix('s3_')} {count:,}" for name, count in requests.most_common()))


if __name__ == "__main__":
    main()
