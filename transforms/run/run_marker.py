"""The mark of an unfinished run: whose the output directory is, and what would have to be equal to go on with it."""

import hashlib
import json
from dataclasses import asdict, dataclass

from ...models.core.errors import InputError
from ..contract.output_layout import STAGING
from ..files.storage import exists, join, read_bytes, write_atomically

MARKER = f"{STAGING}/run.json"


@dataclass(frozen=True)
class RunMarker:
    """What `.staging/run.json` says of a run."""

    identity: dict[str, str]
    """Fingerprint of each thing that the result depends on, by name: input, options, model and so on."""
    token: str
    """Random, of this start of the run."""
    ready: bool
    """Whether the directory had been cleared of what was there before, so that what lies there now is this run's."""

    @property
    def staging(self) -> str:
        """Folder for this run's work, below the output directory; another run's work is never mistaken for it."""
        return f"{STAGING}/{hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]}"


def write_marker(output: str, marker: RunMarker) -> None:
    """Marks an output directory as a run's.

    Raises:
        InputError: It cannot be written to.
    """
    text = json.dumps(asdict(marker), indent=2) + "\n"
    write_atomically(join(output, *MARKER.split("/")), lambda file: file.write(text.encode()), durable=True)


def read_marker(output: str) -> RunMarker | None:
    """Returns an output directory's mark; None where there is none, or something else stands in its place.

    Raises:
        InputError: The file system does not say. That is not to be mistaken for no mark, which loses finished work.
    """
    path = join(output, *MARKER.split("/"))
    if not exists(path):
        return None
    content = read_bytes(path)
    try:
        values = json.loads(content)
        identity = {str(name): str(value) for name, value in values["identity"].items()}
        return RunMarker(identity, str(values["token"]), values["ready"] is True)
    # The file may hold anything.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def check_still_ours(output: str, token: str) -> None:
    """Checks that no other run has taken the output directory over, as none can where directories can be locked.

    Raises:
        InputError: One has, or the mark cannot be read.
    """
    marker = read_marker(output)
    if marker is None or marker.token != token:
        raise InputError(
            f"Another run has taken {output} over while this one was under way",
            code="OUTPUT-TAKEN",
            found="no mark of a run" if marker is None else "the mark of another run",
            expected="the mark that this run has set",
            fix="let one run at a time write into a directory; this run's result is not finished",
        )
