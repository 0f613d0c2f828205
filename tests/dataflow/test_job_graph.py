"""The job as Dataflow would get it, by Beam's own translation."""

import base64
import bz2
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

BUCKET = "bucket"
MODEL = (f"--embeddings=gs://{BUCKET}/embeddings", f"--model=gs://{BUCKET}/model")
VARIANTS = {
    "rules": ("--rules_only=true",),
    "core": ("--rules_only=true", "--min_user_interactions=2", "--min_item_interactions=2"),
    "bytes-broadcast": (*MODEL, "--shuffle=bytes", "--join=broadcast"),
    "bytes-shuffle": (*MODEL, "--shuffle=bytes", "--join=shuffle"),
    "claim-check-broadcast": (*MODEL, "--shuffle=claim-check", "--join=broadcast"),
    "claim-check-shuffle": (*MODEL, "--shuffle=claim-check", "--join=shuffle"),
}
LIMIT = 10 << 20
"""Bytes of a job graph that Dataflow takes."""
LITERAL = 100_000
"""Bytes that a step of a small job may carry along, unpacked."""


@pytest.fixture(scope="session")
def jobs(launch):
    """Each variant's job, translated once."""
    found = {}

    def job(name: str):
        if name not in found:
            found[name] = launch(name, *VARIANTS[name])
        return found[name]

    return job


def unpacked(payload: bytes) -> Iterator[bytes]:
    """A payload, and all that is packed in it: Beam pickles, compresses and writes as base64."""
    yield payload
    for match in re.finditer(rb"[A-Za-z0-9+/]{40,}={0,2}", payload):
        for start in range(4):  # a byte before may look like a part of it
            text = match.group()[start:]
            try:
                data = base64.b64decode(text[: len(text) // 4 * 4])
                content = bz2.decompress(data) if data.startswith(b"BZh") else zlib.decompress(data)
            except (ValueError, OSError, zlib.error):
                continue
            yield from unpacked(content)
            break


def payloads(pipeline: beam_runner_api_pb2.Pipeline) -> dict[str, bytes]:
    """What each step carries, unpacked."""
    steps = pipeline.components.transforms.values()
    return {step.unique_name: b"\0".join(unpacked(step.spec.payload)) for step in steps if step.spec.payload}


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_names_a_path_of_this_machine(jobs, image, name):
    job = jobs(name)
    here = {f"/{entry.name}/".encode() for entry in Path("/").iterdir()}
    named = {}
    for step, content in payloads(job.pipeline).items():
        # The image's own files are where they will be on the workers.
        content = content.replace(image.root.encode(), b"IMAGE:")
        paths = set(re.findall(rb"(?<![\w:/.-])/[\w.@+-]+/[\w.@+/-]*", content))
        if found := {path for path in paths if any(path.startswith(root) for root in here)}:
            named[step] = found
    assert len(payloads(job.pipeline)) > 30
    assert named == {}
    assert not re.search(r"""["']/(?!opt/)[\w.-]+/""", str(job.options))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_graph_is_small_and_no_step_carries_much(jobs, name):
    job = jobs(name)
    large = {step: len(content) for step, content in payloads(job.pipeline).items() if len(content) > LITERAL}
    assert large == {}
    assert job.request_bytes + job.pipeline.ByteSize() < LIMIT / 20


def test_the_graph_of_a_log_of_many_files_is_far_below_the_limit(launch, storage, tmp_path):
    import uuid

    from pyarrow import fs

    few, many = 20, 220
    table = pa.table({"user_id": ["a", "b"], "item_id": ["x", "y"], "timestamp": [1_700_000_001, 1_700_000_002]})
    sizes = []
    for count in (few, many):
        folder = tmp_path / f"log-{count}"
        folder.mkdir()
        for number in range(count):
            pq.write_table(
                table, folder / f"part-{number:05d}-{uuid.UUID(int=hash((count, number)) & (1 << 128) - 1)}.parquet"
            )
        fs.copy_files(str(folder), f"{BUCKET}/{folder.name}", destination_filesystem=storage.files)
        job = launch(f"many-{count}", *VARIANTS["rules"], interactions=folder.name)
        sizes.append(job.request_bytes + job.pipeline.ByteSize())
    each = (sizes[1] - sizes[0]) / (many - few)
    assert each < 400
    assert LIMIT / each > 25_000  # files


@pytest.mark.parametrize("name", VARIANTS)
def test_heavy_steps_have_one_output_of_rows(jobs, name):
    """Some engines run a step once for each of its outputs. What is beside the rows is small."""
    steps = jobs(name).pipeline.components.transforms.values()
    several = {
        step.unique_name: set(step.outputs) for step in steps if not step.subtransforms and len(step.outputs) > 1
    }
    assert {name.partition("/ParDo")[0]: outputs for name, outputs in several.items()} == {
        "Read/Read and validate": {"None", "counts"},
        "Rules/Order and rule": {"None", "item_counts"},
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_the_settings_that_are_safe_on_dataflow_are_there(jobs, name):
    job = jobs(name)
    (pool,) = job.description["environment"]["workerPools"]
    assert pool["numThreadsPerWorker"] == 1
    assert job.options["sdk_location"] == "container"
    environments = {step.environment_id for step in job.pipeline.components.transforms.values() if step.environment_id}
    for environment in environments:
        described = job.pipeline.components.environments[environment]
        docker = beam_runner_api_pb2.DockerPayload.FromString(described.payload)
        assert docker.container_image == "registry/iadsr:0.1.0"
        roles = [each.role_payload for each in described.dependencies]
        staged = {beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(role).staged_name for role in roles}
        # A note, and what the entry point has imported. A worker installs nothing.
        assert staged == {"submission_environment_dependencies.txt", "pickled_main_session"}
    names = Counter(step.unique_name for step in job.pipeline.components.transforms.values())
    assert max(names.values()) == 1


@pytest.mark.parametrize("name", ["rules", "bytes-broadcast", "claim-check-shuffle"])
def test_the_graph_gives_the_bytes_of_a_run_here(jobs, storage, world, tmp_path, monkeypatch, name):
    """Beam's engine on this machine runs what Dataflow would get, in Google's storage."""
    from iadsr.pipeline import clean

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.environment["STORAGE_EMULATOR_HOST"])
    pipeline = beam_runner_api_pb2.Pipeline()
    pipeline.CopyFrom(jobs(name).pipeline)
    for environment in pipeline.components.environments.values():
        environment.urn, environment.payload = "beam:env:embedded_python:v1", b""
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
    settings = {"rules_only": True} if name == "rules" else {"embeddings": world.embeddings, "model": world.model}
    clean(interactions=world.interactions, output=tmp_path / "out", shards=6, **settings)
    expected = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.parquet")}
    assert {file for file in storage.below(name) if file.endswith(".parquet")} == set(expected)
    for file, path in expected.items():
        assert hashlib.sha256(storage.read(f"{name}/{file}")).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert "manifest.json" in storage.below(name)
    assert not [file for file in storage.below(name) if file.startswith(".staging")]
