"""The program of a local worker process: Beam's own, but its log goes to the main process only, not to the terminal."""

import atexit
import gc
import logging
import os
import sys
import threading
import time

# This comes before Beam is imported: once there is a handler, nothing installs one that writes to stderr.
logging.getLogger().addHandler(logging.NullHandler())

from apache_beam.runners.worker import sdk_worker_main  # noqa: E402

MAIN_PROCESS = "IADSR_MAIN_PROCESS"
"""Environment variable with the id of the process that started the worker."""


def _end_with(process: int) -> None:
    """Ends this process soon after another one ends: workers of a killed run must not write into the next run."""
    while True:
        time.sleep(0.2)
        try:
            os.kill(process, 0)
        except OSError:
            os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(os.environ[MAIN_PROCESS]),), daemon=True).start()
    # Workers are told to end one after the other: no time is spent on a garbage collection at the end.
    atexit.register(gc.freeze)
    # Beam would print the stack trace of every failure here. It also sends it to the main process, which reports it.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    sdk_worker_main.main(sys.argv)
