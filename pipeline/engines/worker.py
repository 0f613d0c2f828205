"""The program of a worker process: Beam's own, but its log goes to the engine only, not to the terminal.

On this machine Beam starts it. On an engine's machines `worker_starter` does, with Beam's arguments: a worker then asks
the engine what it needs to know.
"""

import argparse
import atexit
import gc
import json
import logging
import os
import sys
import threading
import time

# This comes before Beam is imported: once there is a handler, nothing installs one that writes to stderr.
logging.getLogger().addHandler(logging.NullHandler())

from .worker_starter import MAIN_PROCESS  # noqa: E402


def _end_with(process: int) -> None:
    """Ends this process soon after another one ends: workers of a killed run must not write into the next run."""
    while True:
        time.sleep(0.2)
        try:
            os.kill(process, 0)
        except OSError:
            os._exit(1)


if __name__ == "__main__":  # before Beam is imported, which takes seconds
    threading.Thread(target=_end_with, args=(int(os.environ[MAIN_PROCESS]),), daemon=True).start()

from apache_beam.runners.worker import bundle_processor, sdk_worker_main  # noqa: E402

from ...models.core.errors import EngineError  # noqa: E402
from .versions import SUBMITTED, installed_versions, refuse_other_versions  # noqa: E402


def provisioned(worker_id: str, endpoint: str) -> dict[str, str]:
    """Asks an engine what a worker needs to know.

    Args:
        worker_id: The id that the engine gave the worker.
        endpoint: Where the engine answers.

    Returns:
        Environment variables, as Beam's worker reads them.
    """
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
    from apache_beam.runners.job.utils import struct_to_dict
    from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor

    with grpc.insecure_channel(endpoint) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(
            grpc.intercept_channel(channel, WorkerIdInterceptor(worker_id))
        )
        info = stub.GetProvisionInfo(beam_provision_api_pb2.GetProvisionInfoRequest(), timeout=60).info
    variables = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json.dumps(struct_to_dict(info.pipeline_options)),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "LOGGING_API_SERVICE_DESCRIPTOR": str(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": str(info.control_endpoint),
    }
    if info.HasField("status_endpoint"):
        variables["STATUS_API_SERVICE_DESCRIPTOR"] = str(info.status_endpoint)
    return variables


def _refuse_other_versions() -> None:
    """Has the first data of a bundle fail if the versions here are others.

    Spark and Flink report only an error that comes from data. They wait without end for a bundle that fails before its
    data is read, and for a worker that ends.
    """
    submitted = os.environ.get(SUBMITTED)
    if submitted is None:
        return
    try:
        refuse_other_versions(submitted, installed_versions())
    except EngineError as error:
        refused = error

        def refuse(self: bundle_processor.DataInputOperation, encoded_windowed_values: bytes) -> None:
            raise refused

        bundle_processor.DataInputOperation.process_encoded = refuse


def main() -> None:
    """Runs the worker until the engine ends it."""
    # Workers are told to end one after the other: no time is spent on a garbage collection at the end.
    atexit.register(gc.freeze)
    parser = argparse.ArgumentParser()
    parser.add_argument("--id")
    parser.add_argument("--provision_endpoint")
    arguments, _ = parser.parse_known_args()
    if arguments.provision_endpoint:
        os.environ.update(provisioned(arguments.id, arguments.provision_endpoint))
        _refuse_other_versions()
    # Beam would print the stack trace of every failure here. It also sends it to the engine, which reports it.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
