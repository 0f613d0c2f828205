"""`iadsr-worker`: starts a Python worker for an engine, in Beam's PROCESS environment.

An engine runs this program on its machines and tells it where to ask what to do. It takes the place of Beam's own
program, which is written in Go and comes only with docker images. It imports nothing, to stay small.
"""

import os
import signal
import subprocess
import sys
import time

MAIN_PROCESS = "IADSR_MAIN_PROCESS"
"""Environment variable with the id of the process with which a worker ends."""

ENDS_EXECUTOR = "IADSR_ENDS_EXECUTOR"
"""Environment variable: set if the process that started this one is to end where its worker dies of a signal."""


def main() -> None:
    """Starts a worker and waits for it. The command line is that of Beam's own program."""
    executor, told = os.getppid(), []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.append(number))
    worker = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.worker", *sys.argv[1:]],
        env={**os.environ, MAIN_PROCESS: str(os.getpid())},
    )
    while (code := worker.poll()) is None:
        if os.getppid() != executor:
            worker.kill()
        elif told:
            worker.terminate()
        time.sleep(0.1)
    # Spark goes on with a worker that is gone, and loses task after task. An executor that is gone it replaces.
    if code < 0 and not told and os.environ.get(ENDS_EXECUTOR) and os.getppid() == executor:
        os.kill(executor, signal.SIGKILL)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
