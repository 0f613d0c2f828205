"""The starter as an engine runs it: a program that starts it, asks it to end, and may die or be killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc

from iadsr.pipeline.engines.worker import provisioned

EXECUTOR = """
import subprocess, sys
starter = subprocess.Popen([sys.executable, "-m", "iadsr.pipeline.engines.worker_starter", *sys.argv[1:]])
print(starter.pid, flush=True)
sys.exit(starter.wait())
"""


class Provision(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    def GetProvisionInfo(self, request, context=None):  # noqa: N802
        info = beam_provision_api_pb2.ProvisionInfo(runner_capabilities=["a", "b"])
        info.pipeline_options.update({"beam:option:job_name:v1": "x"})
        info.logging_endpoint.url, info.control_endpoint.url = "localhost:1", "localhost:2"
        assert ("worker_id", "7-1") in [tuple(pair) for pair in context.invocation_metadata()]
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(Provision(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that never answers: a worker waits there. A server of gRPC here might not survive new processes."""
    with socket.create_server(("localhost", 0)) as listener:
        yield f"localhost:{listener.getsockname()[1]}"


def test_a_worker_asks_the_engine_what_it_needs_to_know(endpoint):
    variables = provisioned("7-1", endpoint)
    assert variables["WORKER_ID"] == "7-1"
    assert variables["RUNNER_CAPABILITIES"] == "a b"
    assert "beam:option:job_name:v1" in variables["PIPELINE_OPTIONS"]
    assert variables["CONTROL_API_SERVICE_DESCRIPTOR"].strip() == 'url: "localhost:2"'
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in variables


@contextlib.contextmanager
def executor(endpoint: str, **environment: str) -> Iterator[tuple[subprocess.Popen, int, int]]:
    """An executor with a worker that tries to reach its engine. Gives the process, the starter and the worker."""
    process = subprocess.Popen(
        [sys.executable, "-c", EXECUTOR, "--id=7-1", f"--provision_endpoint={endpoint}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    starter = int(process.stdout.readline())
    children = Path(f"/proc/{starter}/task/{starter}/children")
    wait_until(lambda: children.read_text().split())
    worker = int(children.read_text().split()[0])
    try:
        yield process, starter, worker
    finally:
        for each in (worker, starter):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(process: int) -> bool:
    """Whether a process has ended; its parent may not have asked for its exit code yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc: run on Linux")


@linux
def test_a_worker_that_dies_of_a_signal_takes_its_executor_along(silent):
    with executor(silent, IADSR_ENDS_EXECUTOR="1") as (process, _, worker):
        os.kill(worker, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL


@linux
def test_an_executor_that_would_not_be_replaced_is_told_only(silent):
    with executor(silent) as (process, _, worker):
        os.kill(worker, signal.SIGKILL)
        assert process.wait(30) == 128 + signal.SIGKILL


@linux
def test_an_engine_that_ends_its_worker_is_left_alone(silent):
    with executor(silent, IADSR_ENDS_EXECUTOR="1") as (process, starter, worker):
        os.kill(starter, signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        assert is_gone(worker)


@linux
@pytest.mark.parametrize("killed", ["executor", "starter"])
def test_a_worker_ends_with_what_started_it(silent, killed):
    with executor(silent, IADSR_ENDS_EXECUTOR="1") as (process, starter, worker):
        wait_until(lambda: b"worker" in Path(f"/proc/{worker}/cmdline").read_bytes())
        os.kill(process.pid if killed == "executor" else starter, signal.SIGKILL)
        wait_until(lambda: is_gone(worker) and is_gone(starter))
