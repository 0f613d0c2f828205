"""Refuses artifacts that lead elsewhere."""

import os

from ...models.core.errors import ArtifactError
from .storage import is_local


def refuse_links(directory: str) -> None:
    """Checks that a local model or embedding directory holds no symbolic link and no pipe or device.

    The directory itself may be named through a link: whoever names it knows where that leads. What lies in it came with
    it, perhaps from elsewhere, and would be read, or hashed and shown, as if it were the artifact's.

    Raises:
        ArtifactError: It holds one.
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
                f"{path} is no file of the directory's own",
                code="ARTIFACT-LINK",
                found=found,
                expected="files and directories only",
                fix="copy what it points to into its place, if you trust it",
            )
