"""The program of a local worker process: Beam's own, whose log goes to the main process and not to the terminal too."""

import logging
import os
import sys

# Before Beam is imported: with a handler in place, nothing installs one that writes to stderr.
logging.getLogger().addHandler(logging.NullHandler())

from apache_beam.runners.worker import sdk_worker_main  # noqa: E402

if __name__ == "__main__":
    # Beam prints the stack trace of every failure here, and sends it to the main process, which tells the user.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    sdk_worker_main.main(sys.argv)
