"""No command uses the network, unless the user names a remote path or an encoder to download."""

import subprocess
import sys

# An audit hook hears of every connection that Python code makes. It cannot be removed, so it runs in its own process.
CODE = """
import json, sys
asked = []

def listen(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        asked.append((event, str(arguments[1:])))
        raise ConnectionRefusedError(event)

sys.addaudithook(listen)
from iadsr.pipeline import clean
from iadsr.pipeline.commands.command_options import DoctorOptions
from iadsr.pipeline.commands.doctor import examine
from iadsr.transforms.run.verification import verify_output

interactions, embeddings, model, output = sys.argv[1:]
findings = list(examine(DoctorOptions(interactions, None, embeddings, model, output)))
assert all(finding.healthy for finding in findings), findings
clean(interactions=interactions, embeddings=embeddings, model=model, output=output)
verify_output(output)
print(json.dumps(asked))
"""


def test_checking_cleaning_and_verifying_ask_nothing_of_the_network(world, tmp_path):
    command = [sys.executable, "-c", CODE, world.interactions, world.embeddings, world.model, str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
