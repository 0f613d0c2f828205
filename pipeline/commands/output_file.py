"""The file that a command writes its result to: checked before the work, written after it."""

import json
import tempfile
from pathlib import Path
from typing import Any

from ...models.core.errors import UsageError
from ...transforms.contract.python_values import replace_non_finite
from ...transforms.files.storage import write_atomically


def check_output_file(path: Path, kind: str) -> None:
    """Checks that a file of a kind, such as JSON, can be written. This runs before the work begins.

    Raises:
        UsageError: It is a directory, a link or a device, or its directory is missing or cannot be written to.
    """
    try:
        found = _what_forbids(path)
    except (OSError, ValueError) as error:
        found = str(error)
    if found:
        raise UsageError(
            "--output cannot be written",
            code="OPTION-OUTPUT",
            fix=f"name a {kind} file in a directory that exists and may be written to",
            found=found,
            expected=f"a {kind} file in an existing directory",
        )


def _what_forbids(path: Path) -> str | None:
    """Says why a file cannot be written; None if it can. A link or a device would be lost, as writing replaces it."""
    if path.is_dir():
        return f"{path} is a directory"
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return f"{path} is a link or a device"
    if not path.parent.is_dir():
        return f"{path.parent} is not a directory"
    with tempfile.TemporaryFile(dir=path.parent):
        return None


def write_figures(path: Path, figures: dict[str, Any]) -> None:
    """Writes figures as JSON. Those that are not defined are null.

    Raises:
        InputError: The file cannot be written.
    """
    text = json.dumps(replace_non_finite(figures, lambda _: None), indent=2, allow_nan=False) + "\n"
    write_atomically(str(path.absolute()), lambda file: file.write(text.encode()), durable=True)
