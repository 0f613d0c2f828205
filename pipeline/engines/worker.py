"""The program of a local worker process: Beam's own, whose log goes to the main process and not to the terminal too."""

import atexit
import gc
import logging
import os
import sys
import threading
import time

# Before Beam is imported: with a handler in place, nothing installs one that writes to stderr.
logging.getLogger().addHandler(logging.NullHandler())

from apache_beam.runners.worker import sdk_worker_main  # noqa: E402

MAIN_PROCESS = "IADSR_MAIN_PROCESS"
"""Environment variable with the number of the process that started the worker."""


def _end_with(process: int) -> None:
    """Ends this process soon after another has: a worker whose run was killed must not write into the next one."""
    while True:
        time.sleep(0.2)
        try:
            os.kill(process, 0)
        except OSError:
            os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(os.environ[MAIN_PROCESS]),), daemon=True).start()
    # What ends with the process is not searched for garbage first: workers are told to end one after the other.
    atexit.register(gc.freeze)
    # Beam prints the stack trace of every failure here, and sends it to the main process, which tells the user.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    sdk_worker_main.main(sys.argv)
