"""`clean` from a real S3 server into it: the same bytes as on this machine, few requests, and one error if it fails."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHARDS = 6
OPTIONS = ["--shards", str(SHARDS), "--drop-rate", "0.1"]

MAX_REQUESTS_PER_FILE = 3
MAX_OTHER_REQUESTS = 160
"""Of a run, however many files it has: model, vectors, marks, manifest, listings."""


@pytest.fixture
def inputs(bucket, world) -> dict[str, str]:
    """Puts the tiny world into the bucket."""
    from iadsr.transforms.files.storage import write_atomically

    for name in ("interactions", "embeddings", "model"):
        root = Path(getattr(world, name))
        for path in root.rglob("*"):
            if path.is_file():
                target = f"s3://bucket/{name}/{path.relative_to(root).as_posix()}"
                write_atomically(target, lambda file, path=path: file.write(path.read_bytes()))
    bucket.requests.clear()
    return {name: f"s3://bucket/{name}" for name in ("interactions", "embeddings", "model")}


def iadsr(*words: str, seconds: float = 300) -> tuple[int, str]:
    command = [sys.executable, "-m", "iadsr.pipeline", *words]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
    return run.returncode, run.stdout


def clean(inputs: dict[str, str], output: str = "s3://bucket/out", *more: str) -> tuple[int, str]:
    words = [word for name, path in inputs.items() for word in (f"--{name}", path)]
    return iadsr("clean", *words, "--output", output, *OPTIONS, *more)


def tables(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.parquet"))
    }


@pytest.fixture(scope="session")
def local(world, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("local") / "out"
    names = ("interactions", "embeddings", "model")
    code, said = clean({name: getattr(world, name) for name in names}, str(output))
    assert code == 0, said
    return output


@pytest.mark.parametrize("shuffle", ["bytes", "claim-check"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_bytes_are_those_of_a_local_run(bucket, inputs, local, shuffle, workers):
    code, said = clean(inputs, "s3://bucket/out", "--shuffle", shuffle, "--direct_num_workers", workers)
    assert code == 0, said
    assert tables(bucket.bucket / "out") == tables(local)
    assert not [name for name in bucket.objects("out") if name.startswith(".staging/")]
    code, said = iadsr("verify", "s3://bucket/out")
    assert code == 0, said


def test_each_file_costs_few_requests(bucket, inputs):
    code, said = clean(inputs)
    assert code == 0, said
    read = len(bucket.objects("interactions"))
    # Of each shard: the table after the rules, the scored one, interactions, sequences and users.
    files = read + 5 * SHARDS
    assert sum(bucket.requests.values()) <= MAX_REQUESTS_PER_FILE * files + MAX_OTHER_REQUESTS, bucket.requests
    assert "CopyObject" not in bucket.requests


def test_the_requests_grow_by_three_for_each_file_at_most(bucket, inputs):
    spent = []
    for shards in (2, 12):
        bucket.requests.clear()
        code, said = clean(inputs, f"s3://bucket/out-{shards}", "--shards", str(shards))
        assert code == 0, said
        spent.append(sum(bucket.requests.values()))
    assert spent[1] - spent[0] <= MAX_REQUESTS_PER_FILE * 5 * 10


def test_a_store_that_fails_in_the_middle_is_told_and_the_run_resumes(bucket, inputs, local):
    bucket.fails = lambda method, target: 503 if method == "PUT" and "scored-00003" in target else None
    started = time.monotonic()
    code, said = clean(inputs)
    assert time.monotonic() - started < 120
    assert code == 1, said
    assert "IADSR-STORE-ANSWER" in said
    assert "HTTP status 503" in said
    assert "bug" not in said
    assert "manifest.json" not in bucket.objects("out")
    bucket.fails = lambda method, target: None
    code, said = clean(inputs)
    assert code == 0, said
    assert "Resuming" in said
    assert tables(bucket.bucket / "out") == tables(local)


def test_a_store_that_fails_now_and_then_is_asked_again(bucket, inputs, local):
    asked = 0

    def fails(method: str, target: str) -> int | None:
        nonlocal asked
        asked += 1
        return 503 if asked % 7 == 0 else None

    bucket.fails = fails
    code, said = clean(inputs)
    assert code == 0, said
    assert tables(bucket.bucket / "out") == tables(local)


@pytest.mark.parametrize("answer", [503, "hang"])
def test_a_store_that_does_not_answer_is_told_within_two_minutes(bucket, inputs, answer):
    bucket.fails = lambda method, target: answer
    started = time.monotonic()
    code, said = clean(inputs)
    assert time.monotonic() - started < 120
    assert code == 1, said
    assert "IADSR-STORE-ANSWER" in said


def test_an_upload_that_fails_half_way_leaves_nothing(bucket):
    from iadsr.models.core.errors import StoreError
    from iadsr.transforms.files.storage import list_names, write_atomically

    bucket.fails = lambda method, target: 403 if "partNumber=2" in target else None
    with pytest.raises(StoreError):
        write_atomically("s3://bucket/big/f", lambda file: file.write(bytes(30 << 20)))
    bucket.fails = lambda method, target: None
    assert list_names("s3://bucket/big") == []
    write_atomically("s3://bucket/big/f", lambda file: file.write(bytes(30 << 20)))
    assert list_names("s3://bucket/big") == ["f"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "STORE-DENIED"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "STORE-ANSWER"),
    ],
)
def test_doctor_says_what_keeps_it_from_a_bucket(bucket, inputs, monkeypatch, name, value, code):
    monkeypatch.setenv(name, value)
    status, said = iadsr("doctor", "--interactions", inputs["interactions"], "--output", "s3://bucket/out")
    assert status == 1, said
    assert said.count(f"IADSR-{code}") == 2


def test_a_bucket_that_is_not_there_is_told(bucket, inputs):
    code, said = clean({**inputs, "interactions": "s3://missing/log"})
    assert code == 1, said
    assert "IADSR-STORE-BUCKET" in said


def test_flags_of_beam_reach_worker_processes(bucket, inputs, local, monkeypatch):
    flags = {
        "s3_access_key_id": bucket.environment["AWS_ACCESS_KEY_ID"],
        "s3_secret_access_key": bucket.environment["AWS_SECRET_ACCESS_KEY"],
        "s3_endpoint_url": bucket.environment["AWS_ENDPOINT_URL"],
        "s3_region_name": "us-east-1",
    }
    for name in bucket.environment:
        monkeypatch.delenv(name)
    words = [f"--{name}={value}" for name, value in flags.items()]
    code, said = clean(inputs, "s3://bucket/out", "--direct_num_workers", "2", *words)
    assert code == 0, said
    assert tables(bucket.bucket / "out") == tables(local)
    assert flags["s3_secret_access_key"] not in (bucket.bucket / "out" / "manifest.json").read_text()


def test_a_dataset_of_published_runs(bucket, inputs):
    words = [word for name, path in inputs.items() for word in (f"--{name}", path)]
    for day in ("01", "02"):
        code, said = iadsr("clean", *words, *OPTIONS, "--dataset", "s3://bucket/data", "--run-id", f"2026-01-{day}")
        assert code == 0, said
    assert (bucket.bucket / "data" / "LATEST").read_text() == "run=2026-01-02\n"
    for command in (
        ["diff", "s3://bucket/data/run=2026-01-01", "s3://bucket/data/run=2026-01-02"],
        ["check", "s3://bucket/data/run=2026-01-02"],
        ["publish", "s3://bucket/data/run=2026-01-01"],
    ):
        code, said = iadsr(*command)
        assert code == 0, said
    assert (bucket.bucket / "data" / "LATEST").read_text() == "run=2026-01-01\n"
