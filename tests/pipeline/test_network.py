"""Without a remote path or an encoder by name, nothing asks the network."""

import subprocess
import sys

# Audit hooks hear of every connection that Python code makes, and cannot be taken out again: hence another process.
CODE = """
import json, sys
asked = []

def listen(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        asked.append((event, str(arguments[1:])))
        raise ConnectionRefusedError(event)

sys.addaudithook(listen)
from rich.console import Console
from iadsr.pipeline.commands.clean import CleanOptions, clean
from iadsr.pipeline.commands.doctor import DoctorOptions, examine
from iadsr.pipeline.engines.runner import beam_options
from iadsr.pipeline.engines.progress import Progress
from iadsr.transforms.run.verification import verify_output

interactions, embeddings, model, output = sys.argv[1:]
findings = list(examine(DoctorOptions(interactions, None, embeddings, model, output)))
assert all(finding.healthy for finding in findings), findings
clean(CleanOptions(interactions, embeddings, model, output), beam_options([]), Progress(Console(quiet=True)))
verify_output(output)
print(json.dumps(asked))
"""


def test_checking_cleaning_and_verifying_ask_nothing_of_the_network(world, tmp_path):
    command = [sys.executable, "-c", CODE, world.interactions, world.embeddings, world.model, str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
