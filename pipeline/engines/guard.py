"""Runs a program and ends it with the process that asked for it, however that process ends.

python -m iadsr.pipeline.engines.guard PROCESS COMMAND...
"""

import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 10.0
"""Time for the program to end by itself."""


def main() -> None:
    """Runs the command line of this program."""
    owner = int(sys.argv[1])
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.append(number))
    program = subprocess.Popen(sys.argv[2:])
    while program.poll() is None and not told and os.getppid() == owner:
        time.sleep(0.1)
    if program.poll() is None:
        program.terminate()
        try:
            program.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
    code = program.wait()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
