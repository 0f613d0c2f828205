"""Refuses artifacts that hold links to other places."""

import os

from ...models.core.errors import ArtifactError
from .storage import is_local


def refuse_links(directory: str) -> None:
    """Checks that a local model or embedding directory holds no symbolic link, pipe or device.

    The directory itself may be a link: the user who names it knows its target. A link inside may come from somebody
    else. Its target would be read, hashed or shown as if it were part of the artifact.

    Raises:
        ArtifactError: The directory holds a symbolic link, a pipe or a device.
    """
    if not is_local(directory) or not os.path.isdir(directory):
        return
    for folder, folders, names in os.walk(directory):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found = f"a symbolic link to {os.readlink(path)}"
            elif name in names and not os.path.isfile(path):
                found = "neither a file nor a directory"
            else:
                continue
            raise ArtifactError(
                f"{path} is not a regular file of this directory",
                code="ARTIFACT-LINK",
                found=found,
                expected="files and directories only",
                fix="replace it with a copy of what it points to, if you trust that",
            )
