"""The output directory of a run as one object: open it, resume it, discard stale work, finish it.

While a run is unfinished, a mark in the staging folder says whose the directory is, and what must be equal to resume
the run.
"""

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable

from ...models.core.errors import InputError
from ..contract.output_layout import (
    CARD,
    INTERACTIONS,
    KEPT_SCORES,
    MANIFEST,
    OUTPUTS,
    REJECTED,
    REPORT,
    SEQUENCES,
    STAGING,
    SUCCESS,
    USERS,
)
from ..files.run_paths import RunPaths
from ..files.storage import (
    TEMPORARY_PREFIX,
    delete,
    exists,
    is_temporary,
    join,
    list_names,
    read_bytes,
    write_atomically,
)
from ..read.read_splits import SplitCounts
from .manifest import read_manifest
from .output_directory import refuse_foreign

MACHINE = "machine"
"""The part of a run's identity that says which start of which machine has done the unfinished work."""

MARKER = f"{STAGING}/run.json"
"""The mark, from the output directory on."""


@dataclasses.dataclass(frozen=True)
class RunMarker:
    """The content of the mark."""

    identity: dict[str, str]
    """Fingerprint of each thing that the result depends on, by name: input, options, model and so on."""
    token: str
    """Random, of this start of the run."""
    ready: bool
    """Whether earlier results have been removed, so that everything in the directory belongs to this run."""


@dataclasses.dataclass(frozen=True)
class RunStore(RunPaths):
    """The output directory of one run. It can be pickled, and travels to the workers as part of the steps."""

    identity: dict[str, str]
    """Fingerprint of each thing that the result depends on, by name: input, options, model and so on."""
    token: str
    """Random, of this start of the run."""

    @classmethod
    def open(
        cls,
        output: str,
        identity: dict[str, str],
        shards: int,
        *,
        overwrite: bool,
        say: Callable[[str], None],
        again: bool = False,
    ) -> "RunStore | None":
        """Makes an output directory ready for a run.

        The directory is empty afterwards, or it holds what an unfinished run of the same identity has done.

        Args:
            output: The directory.
            identity: Fingerprints of all that the result depends on.
            shards: Number of user shards.
            overwrite: Replace a finished run.
            say: Called with a sentence about what becomes of an unfinished run.
            again: Take the finished result of an equal run for the result of this one.

        Returns:
            The store; None if the directory already holds the finished result of this very run. It was killed before it
            could remove its staging folder, or `again` lets it be asked for a second time.

        Raises:
            InputError: The directory holds something that must not be replaced, or cannot be written to.
        """
        names = list_names(output)
        marker = read_marker(output)
        mine = marker if marker is not None and marker.ready and marker.identity == identity else None
        finished = MANIFEST in names
        if finished and mine is not None and read_manifest(output).run == mine.token:
            clear_up(output)
            say(f"{output} already holds the finished result of this run. Nothing to do.")
            return None
        if finished and not overwrite:
            found = MANIFEST
            if again:
                theirs, asked = read_manifest(output).identity, lasting(identity)
                if theirs == asked:
                    say(f"{output} already holds the finished result of an equal run.")
                    return None
                found = "a run that differs in " + ", ".join(name for name in asked if theirs.get(name) != asked[name])
            raise InputError(
                f"{output} already holds a finished run",
                code="OUTPUT-FINISHED",
                found=found,
                fix=f"choose another {'--run-id' if again else '--output'}, or pass --overwrite to replace it",
            )
        # Only a run of ours is replaced: folders with the names of ours may be somebody's data.
        ours = OUTPUTS if finished or MARKER in names else ()
        # A run that was killed while it set its mark has left a temporary file and nothing else.
        own = [name for name in names if not is_temporary(name)]
        refuse_foreign(output, sorted({name.split("/")[0] for name in own} - set(ours)))

        folder = staging_folder(identity)
        store = cls(join(output, *folder.split("/")), output, shards, identity, secrets.token_hex(16))
        if mine is not None and not finished:
            scored = sum(name.startswith(f"{folder}/scored-") for name in names)
            written = sum(name.startswith(f"{INTERACTIONS}/part-") for name in names)
            say(f"Resuming the unfinished run in {output}: {scored} shards are scored, {written} are written.")
            store._delete(name for name in names if TEMPORARY_PREFIX in name)
            write_marker(output, RunMarker(identity, store.token, ready=True))
            return store
        if marker is not None and not finished:
            changed = [name for name in identity if marker.identity.get(name) != identity[name]]
            why = f"differs in {', '.join(changed)}" if changed else "had hardly begun"
            say(f"Starting from the beginning: the unfinished run in {output} {why}.")
        # The mark is written first, and the manifest is deleted next. If we are stopped in between, the directory is
        # known to be ours, unfinished, and not fit to be resumed.
        write_marker(output, RunMarker(identity, store.token, ready=False))
        delete(store.manifest, join(output, SUCCESS))
        stale = [name for name in names if name.startswith(f"{STAGING}/") and name != MARKER]
        temporary = [name for name in names if TEMPORARY_PREFIX in name]
        store._delete([INTERACTIONS, SEQUENCES, USERS, REJECTED, REPORT, CARD, KEPT_SCORES, *stale, *temporary])
        write_marker(output, RunMarker(identity, store.token, ready=True))
        return store

    def discard_work_on_other_rows(self, counts: list[SplitCounts]) -> None:
        """Deletes scored shards and results of an earlier start of this run if it had other valid rows than this one.

        A row group that could not be read and was skipped may be readable now, or the other way round. Its rows are
        spread over all shards. If scores change, so does what is dropped from every shard, so nothing can be kept.
        Call it before anything is scored, so that scored shards belong to the rows that are noted here.

        Args:
            counts: Of all splits.

        Raises:
            InputError: The directory cannot be read or written to, or another run has taken it.
        """
        self.check_still_ours()
        rows = f"{sum(c.valid for c in counts)} {sum(c.checksum for c in counts) % 2**64:016x}".encode()
        results = [join(self.output, name) for name in (INTERACTIONS, SEQUENCES, USERS, KEPT_SCORES)]
        discard_other_work(self.staging, rows, results)

    def check_still_ours(self) -> None:
        """Checks that the run goes on, and that no other has taken its directory, as can happen without a lock.

        Raises:
            InputError: One has, or the mark cannot be read.
        """
        marker = read_marker(self.output)
        if marker is None or marker.token != self.token:
            raise InputError(
                f"Another run has taken over {self.output} while this one was running",
                code="OUTPUT-TAKEN",
                found="no mark of a run" if marker is None else "the mark of another run",
                expected="the mark that this run has set",
                fix="run again, and let only one run at a time write into a directory; this result is not finished",
            )

    def write_card(self, card: str) -> None:
        """Writes the dataset card.

        Raises:
            InputError: It cannot be written.
        """
        _write_text(self.card, card)

    def write_report(self, report: str) -> None:
        """Writes the report.

        Raises:
            InputError: It cannot be written.
        """
        _write_text(self.report, report)

    def write_manifest(self, manifest: str) -> None:
        """Writes the manifest, the last file of a run: with it the run is finished.

        Raises:
            InputError: It cannot be written.
        """
        _write_text(self.manifest, manifest)

    def remove_staging(self) -> None:
        """Deletes the staging folder with the mark in it, and files that an attempt has left unfinished.

        If another run has begun there since, they are its own, and nothing is deleted.

        Raises:
            InputError: They cannot be deleted.
        """
        marker = read_marker(self.output)
        if marker is None or marker.token == self.token:
            clear_up(self.output)

    def _delete(self, names: Iterable[str]) -> None:
        delete(*(join(self.output, *name.split("/")) for name in names))


def discard_other_work(staging: str, rows: bytes, results: Iterable[str] = ()) -> None:
    """Deletes shards in a staging folder, unless they were made of these rows, and notes the rows.

    It may be called again, also while shards are written: an engine that loses a machine repeats earlier steps.

    Args:
        staging: The folder.
        rows: What tells the rows, and all else that shards depend on, from others.
        results: What else was made of the shards.

    Raises:
        InputError: The folder cannot be read or written to.
    """
    note = join(staging, "valid_rows")
    if exists(note):
        if read_bytes(note) == rows:
            return
        stale = [name for name in list_names(staging) if name.startswith(("ruled-", "scored-"))]
        delete(*(join(staging, name) for name in stale), *results)
    write_atomically(note, lambda file: file.write(rows))


def clear_up(output: str) -> None:
    """Deletes what a finished run does not need: unfinished files, and the staging folder with the mark in it.

    An engine may have ended an attempt, or its machine, in the middle of a file that another attempt has written since.

    Raises:
        InputError: It cannot be deleted.
    """
    delete(*(join(output, name) for name in list_names(output) if is_temporary(name)))
    delete(join(output, STAGING))


def lasting(identity: dict[str, str]) -> dict[str, str]:
    """Returns the fingerprints that a finished run depends on. An unfinished one depends on the machine as well."""
    return {name: value for name, value in identity.items() if name != MACHINE}


def staging_folder(identity: dict[str, str]) -> str:
    """Returns the folder for a run's work, from the output directory on.

    The name depends on the identity, so that one run never takes another's work for its own.
    """
    return f"{STAGING}/{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]}"


def write_marker(output: str, marker: RunMarker) -> None:
    """Marks an output directory as a run's.

    Raises:
        InputError: It cannot be written to.
    """
    text = json.dumps(dataclasses.asdict(marker), indent=2) + "\n"
    write_atomically(join(output, *MARKER.split("/")), lambda file: file.write(text.encode()), durable=True)


def read_marker(output: str) -> RunMarker | None:
    """Returns an output directory's mark; None if there is none, or if something else stands in its place.

    Raises:
        InputError: The file system does not answer. To take that for no mark would lose finished work.
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


def _write_text(path: str, text: str) -> None:
    # A lone surrogate, in the name of a file, has no UTF-8.
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")), durable=True)
