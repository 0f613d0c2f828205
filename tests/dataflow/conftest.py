"""What Dataflow would get: the image's steps run in a folder, Google's storage from an emulator, no credentials.

`make test-dataflow`. The folder named by IADSR_DATAFLOW holds the image, and IADSR_ENGINES the emulator.
"""

import dataclasses
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from pyarrow import fs

from benchmarks.clusters import free_port
from tests.dataflow import image as images
from tests.pipeline import conftest as pipeline_tests

world = pipeline_tests.world

BUCKET = "bucket"


@pytest.fixture(scope="session")
def image():
    return images.Image.load(Path(os.environ["IADSR_DATAFLOW"]).absolute())


@dataclasses.dataclass
class Storage:
    """Google Cloud Storage, as far as the emulator has it."""

    address: str
    files: fs.FileSystem

    @property
    def environment(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://{self.address}"}

    def read(self, path: str) -> bytes:
        with self.files.open_input_file(f"{BUCKET}/{path}") as file:
            return file.readall()

    def below(self, folder: str) -> list[str]:
        """The names of the files below a folder, from the folder on."""
        place = f"{BUCKET}/{folder}"
        found = self.files.get_file_info(fs.FileSelector(place, allow_not_found=True, recursive=True))
        return sorted(file.path.removeprefix(f"{place}/") for file in found if file.is_file)


@pytest.fixture(scope="session")
def storage(world, tmp_path_factory) -> Iterator[Storage]:
    """The emulator, with the tiny world in its bucket."""
    address = f"127.0.0.1:{free_port()}"
    program = Path(os.environ["IADSR_ENGINES"]) / "bin" / "fake-gcs-server"
    flags = ["-scheme", "http", "-host", "127.0.0.1", "-port", address.rpartition(":")[2], "-backend", "memory"]
    flags += ["-public-host", address, "-external-url", f"http://{address}", "-data", ""]
    folder = tmp_path_factory.mktemp("storage")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([program, *flags], stdout=log, stderr=log, cwd=folder)
    try:
        while socket.socket().connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))):
            assert process.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.05)
        request = urllib.request.Request(
            f"http://{address}/storage/v1/b",
            json.dumps({"name": BUCKET}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=20).close()
        files = fs.GcsFileSystem(anonymous=True, scheme="http", endpoint_override=address)
        for name in ("interactions", "embeddings", "model"):
            fs.copy_files(getattr(world, name), f"{BUCKET}/{name}", destination_filesystem=files)
        yield Storage(address, files)
    finally:
        process.terminate()
        process.wait(20)


@dataclasses.dataclass
class Job:
    """What Beam has written for Dataflow."""

    description: dict
    """The request that would create the job."""
    request_bytes: int
    """Its size."""
    pipeline: beam_runner_api_pb2.Pipeline
    """The graph, as it was staged."""

    @property
    def options(self) -> dict:
        return self.description["environment"]["sdkPipelineOptions"]["options"]


MODEL = (f"--embeddings=gs://{BUCKET}/embeddings", f"--model=gs://{BUCKET}/model")
RULES = ("--rules_only=true",)


@pytest.fixture(scope="session")
def launch(image, storage, tmp_path_factory) -> Callable[..., Job]:
    """Runs the entry point of the template as Google's launcher does. The job is written, and not started."""
    folder = tmp_path_factory.mktemp("launches")

    def launch(name: str, *parameters: str, interactions: str = "interactions") -> Job:
        launcher = {
            "runner": "DataflowRunner",
            "project": "some-project",
            "region": "us-central1",
            "job_name": f"iadsr-{name}",
            "staging_location": f"gs://{BUCKET}/staging/{name}",
            "temp_location": f"gs://{BUCKET}/tmp/{name}",
            "template_location": f"gs://{BUCKET}/jobs/{name}",
        }
        ours = {
            "interactions": f"gs://{BUCKET}/{interactions}",
            "output": f"gs://{BUCKET}/{name}",
            "sdk_container_image": "registry/iadsr:0.1.0",
            "shards": "6",
        }
        words = [f"--{key}={value}" for key, value in {**launcher, **ours}.items()]
        program = image.place(image.variables["FLEX_TEMPLATE_PYTHON_PY_FILE"])
        result = subprocess.run(
            [image.bin / "python", program, *words, *parameters, "--no_auth"],
            env={**image.environment, **storage.environment},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        request = storage.read(f"jobs/{name}")
        description = json.loads(request)
        staged = description["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        content = storage.read(staged.removeprefix(f"gs://{BUCKET}/"))
        return Job(description, len(request), beam_runner_api_pb2.Pipeline.FromString(content))

    return launch
