"""Prepares the output directory of a run: a new run, or one that is resumed."""

import dataclasses
import secrets
from collections.abc import Callable, Iterable

from ...models.core.errors import InputError
from ..contract.output_layout import INTERACTIONS, MANIFEST, OUTPUTS, REJECTED, REPORT, SEQUENCES, STAGING
from ..files import storage
from .manifest import read_manifest
from .output_directory import refuse_foreign
from .run_marker import MARKER, RunMarker, read_marker, write_marker


def prepare_output(
    output: str, identity: dict[str, str], *, overwrite: bool, say: Callable[[str], None]
) -> RunMarker | None:
    """Makes an output directory ready for a run: empty, or with what an unfinished run of the same identity has done.

    Args:
        output: The directory.
        identity: Fingerprints of all that the result depends on.
        overwrite: Replace a finished run.
        say: Told what becomes of an unfinished run.

    Returns:
        The run's mark; None where the directory already holds the finished result of just this run, which was cut off
        before it could clear up.

    Raises:
        InputError: The directory holds something that must not be replaced, or cannot be written to.
    """
    names = storage.list_names(output)
    marker = read_marker(output)
    finished = MANIFEST in names
    if finished and marker is not None and marker.ready and marker.identity == identity:
        manifest = read_manifest(output)
        if manifest.run == marker.token:
            storage.delete(storage.join(output, STAGING))
            say(f"{output} holds the finished result of this run already.")
            return None
    if finished and not overwrite:
        raise InputError(
            f"{output} already holds a finished run",
            code="OUTPUT-FINISHED",
            found=MANIFEST,
            fix="choose another --output, or pass --overwrite to replace it",
        )
    # Only a run of ours is replaced: folders named as ours may well be somebody's data.
    ours = OUTPUTS if finished or MARKER in names else ()
    # A run that was cut off while it set its mark has left a temporary file and nothing else.
    own = [name for name in names if not storage.is_temporary(name)]
    refuse_foreign(output, sorted({name.split("/")[0] for name in own} - set(ours)))

    new = RunMarker(identity, secrets.token_hex(16), ready=True)
    if marker is not None and not finished and marker.ready and marker.identity == identity:
        scored = sum(name.startswith(f"{new.staging}/scored-") for name in names)
        written = sum(name.startswith(f"{INTERACTIONS}/part-") for name in names)
        say(f"Going on with the unfinished run in {output}: {scored} shards are scored, {written} written.")
        _delete_all(output, [name for name in names if storage.TEMPORARY_PREFIX in name])
        write_marker(output, new)
        return new
    if marker is not None and not finished:
        changed = [name for name in identity if marker.identity.get(name) != identity[name]]
        why = f"differs in {', '.join(changed)}" if changed else "had hardly begun"
        say(f"The unfinished run in {output} {why}: starting afresh.")
    # The mark comes first and the manifest goes next: whatever stops us, what is left is known to be ours, unfinished,
    # and not fit to go on with.
    write_marker(output, dataclasses.replace(new, ready=False))
    storage.delete(storage.join(output, MANIFEST))
    stale = [name for name in names if name.startswith(f"{STAGING}/") and name != MARKER]
    temporary = [name for name in names if storage.TEMPORARY_PREFIX in name]
    _delete_all(output, [INTERACTIONS, SEQUENCES, REJECTED, REPORT, *stale, *temporary])
    write_marker(output, new)
    return new


def _delete_all(output: str, names: Iterable[str]) -> None:
    storage.delete(*(storage.join(output, *name.split("/")) for name in names))
