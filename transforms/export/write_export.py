"""Writes an export of a finished run: its files, what was left out, a README, and at last its own description."""

import dataclasses
import importlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import InputError, UsageError
from ..contract.added_columns import SPLITS
from ..files.storage import delete, exists, is_temporary, join, list_names, read_bytes, write_atomically
from ..files.tables import write_table
from ..run.output_directory import locked, refuse_foreign
from .export_format import ExportFormat
from .format_names import FormatName
from .id_map import IdMap, read_id_map
from .selection import Selected, select
from .user_sequences import FinishedRun, UserSequences

EXPORT = "export.json"
"""File that describes an export. It is written last."""

README = "README.md"
"""File that says how to load the export."""

LEFT_OUT = "left_out.parquet"
"""File that names the users and items that are left out."""

MAPS = {"user": "user_map.parquet", "item": "item_map.parquet"}
"""Files of the numbers of users and items."""

MAX_NAMED = 3
"""Items of each kind that a message names."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was exported, and what was not."""

    format: str
    """Name of the format."""
    library: str
    """The library that reads it."""
    run: str
    """Token of the run."""
    users: int
    """Users in the export."""
    interactions: dict[str, int]
    """Number of interactions by the part of the split."""
    left_out_users: dict[str, int]
    """Number of users that are left out, by the reason."""
    left_out_items: dict[str, int]
    """Number of items that are left out wherever they occur, by the reason."""
    left_out_interactions: dict[str, int]
    """Number of interactions left out for another reason than their user or item."""
    some_items: dict[str, list[str]]
    """Some of the items that are left out, by the reason."""
    new_ids: dict[str, int]
    """Number of users and items that an earlier map does not have. Empty without one."""


def load_format(name: FormatName) -> ExportFormat:
    """Returns the format that the module of this name declares."""
    return importlib.import_module(f".{name}", __package__).FORMAT


def write_export(
    run: FinishedRun,
    name: FormatName,
    output: str,
    *,
    ids: str | None,
    overwrite: bool,
    advance: Callable[[int], object] = lambda _: None,
) -> Exported:
    """Writes an export of a run.

    Args:
        run: The run.
        name: The form of the export.
        output: The directory to write to.
        ids: Directory of an earlier export whose numbers are kept.
        overwrite: Replace an earlier export.
        advance: Called with the number of shards that have been read.

    Raises:
        InputError: The output directory or an earlier map cannot be used, or a file cannot be read or written.
        ArtifactError: The run is not as it was written.
    """
    form = load_format(name)
    if form.hold_outs is not None and run.hold_out not in form.hold_outs:
        *others, last = map(str, form.hold_outs)
        raise InputError(
            f"{form.library} cannot have the held-out interactions of {run.path}",
            code="EXPORT-HOLD-OUT",
            found=f"{run.hold_out} of each user",
            expected=f"{', '.join(others)} or {last}",
            fix=f"clean the log with --hold-out {last}, or choose another --format",
        )
    if ids is not None and form.first_number is None:
        raise UsageError(
            f"--ids is of no use with --format {name}",
            code="OPTION-IDS",
            found=f"--ids {ids}",
            expected="a format in which ids are numbers",
            fix="leave out --ids",
        )
    with locked(output):
        _check_output(output, overwrite)
        writer = _Writer(run, form, output, advance)
        if form.first_number is not None:
            writer.number_ids(ids, form.first_number)
        _clear(output)
        _mark(output, {"format": name, "finished": False})
        form.write(writer)
        exported = writer.finish(name)
        _mark(output, {"format": name, "finished": True, **dataclasses.asdict(exported)})
    return exported


class _Writer:
    """The export that is being written, see `Export`."""

    def __init__(self, run: FinishedRun, form: ExportFormat, output: str, advance: Callable[[int], object]):
        self.run = run
        self._form, self._output, self._advance = form, output, advance
        self._maps: dict[str, IdMap] = {}
        self._new_ids: dict[str, int] = {}
        self._start()

    def _start(self) -> None:
        self._users, self._interactions = 0, Counter[str]()
        self._left_users: dict[str, list[pa.Array]] = defaultdict(list)
        self._left_items: dict[str, list[pa.Array]] = defaultdict(list)
        self._left_interactions = Counter[str]()

    def sequences(self) -> Iterator[UserSequences]:
        self._start()
        for number, sequences in enumerate(self.run.sequences(), 1):
            selected = select(sequences, self._form, self.run.hold_out)
            self._count(selected)
            yield selected.sequences
            self._advance(number)

    def _count(self, selected: Selected) -> None:
        self._users += len(selected.sequences.user_ids)
        for split, count in zip(SPLITS, np.bincount(selected.sequences.split, minlength=len(SPLITS)), strict=True):
            self._interactions[split] += int(count)
        for reason, users in selected.users.items():
            self._left_users[reason].append(users)
        for reason, items in selected.items.items():
            self._left_items[reason] = [pc.unique(pa.concat_arrays([*self._left_items[reason], items]))]
        self._left_interactions.update(selected.interactions)

    def number_ids(self, earlier: str | None, first: int) -> None:
        """Gives each user and item a number; those of an earlier export keep theirs."""
        users: list[pa.Array] = []
        items: pa.Array | None = None
        for sequences in self.sequences():
            users.append(sequences.user_ids)
            here = pc.unique(sequences.item_ids)
            items = here if items is None else pc.unique(pa.concat_arrays([items, here]))
        for kind, ids in {"user": pa.concat_arrays(users), "item": items}.items():
            if earlier is None or (kind == "user" and not self._form.keeps_users):
                start = IdMap.of(ids[:0], np.zeros(0, np.int64), first)
            else:
                start = read_id_map(join(earlier, MAPS[kind]), f"{kind}_id", ids.type, first)
            self._maps[kind] = start.extended(ids)
            if len(start.ids):
                self._new_ids[kind] = len(self._maps[kind].ids) - len(start.ids)

    def numbered(self) -> Iterator[tuple[UserSequences, pa.Array, pa.Array]]:
        for sequences in self.sequences():
            users, items = self._maps["user"], self._maps["item"]
            yield sequences, users.of_ids(sequences.user_ids), items.of_ids(sequences.item_ids)

    @property
    def item_numbers(self) -> int:
        return int(self._maps["item"].numbers.max(initial=-1)) + 1

    def write_text(self, name: str, parts: Iterator[str]) -> None:
        def write(file) -> None:
            for part in parts:
                file.write(part.encode())

        write_atomically(self._path(name), write, durable=True)

    def write_table(self, name: str, table: pa.Table) -> None:
        write_table(self._path(name), table)

    def _path(self, name: str) -> str:
        return join(self._output, *name.split("/"))

    def finish(self, name: FormatName) -> Exported:
        """Writes what goes with every export."""
        for kind, ids in self._maps.items():
            self.write_table(MAPS[kind], ids.to_table(f"{kind}_id"))
        users = {reason: pa.concat_arrays(parts) for reason, parts in self._left_users.items()}
        items = {reason: parts[0] for reason, parts in self._left_items.items() if len(parts[0])}
        if users or items:
            self.write_table(LEFT_OUT, _left_out(users, items))
        exported = Exported(
            name,
            self._form.library,
            self.run.manifest.run,
            self._users,
            {split: self._interactions[split] for split in self.run.splits},
            {reason: len(ids) for reason, ids in sorted(users.items())},
            {reason: len(ids) for reason, ids in sorted(items.items())},
            {reason: count for reason, count in sorted(self._left_interactions.items()) if count},
            {reason: list(map(str, ids[:MAX_NAMED].to_pylist())) for reason, ids in sorted(items.items())},
            self._new_ids,
        )
        self.write_text(README, iter([_readme(self._form, self.run, exported)]))
        return exported


def _left_out(users: dict[str, pa.Array], items: dict[str, pa.Array]) -> pa.Table:
    """Returns a table with a row for each user and item that is left out: kind, id as text, and reason."""
    parts = [
        pa.table({"kind": [kind] * len(ids), "id": ids.cast(pa.large_string()), "reason": [reason] * len(ids)})
        for kind, left_out in (("user", users), ("item", items))
        for reason, ids in left_out.items()
    ]
    return pa.concat_tables([part for part in parts if len(part)])


def _readme(form: ExportFormat, run: FinishedRun, exported: Exported) -> str:
    parts = ", ".join(f"{count:,} {split}" for split, count in exported.interactions.items())
    lines = [
        *([form.header(run)] if form.header else []),
        f"# Interactions for {form.library}",
        "",
        form.readme(run).strip(),
        "",
        f"Written by `iadsr export --format {exported.format}`: {parts} interactions of {exported.users:,} users.",
        "Each user's interactions are in order, and their times differ. What weighs 0 is left out.",
    ]
    if run.manifest.times.unit is None:
        lines.append("The log's times are only an order. Here, a user's interactions are a second apart from 0 on.")
    if not run.hold_out:
        lines.append("Nothing was held out (`iadsr clean --hold-out`), so the last interactions may be judged ones.")
    if exported.left_out_users or exported.left_out_items:
        lines.append(f"`{LEFT_OUT}` names the users and items that are left out, and why.")
    if form.first_number is not None:
        lines.append(
            f"`{MAPS['user']}` and `{MAPS['item']}` say which number is which id, from {form.first_number} on."
        )
    return "\n".join(lines) + "\n"


def _check_output(output: str, overwrite: bool) -> None:
    """Checks that an output directory is empty, or holds an earlier export that may be replaced."""
    mark = _read_mark(output)
    if mark is None:
        refuse_foreign(output, [name for name in list_names(output) if not is_temporary(name)])
    elif mark.get("finished") and not overwrite:
        raise InputError(
            f"{output} already holds an export",
            code="EXPORT-EXISTS",
            found=EXPORT,
            fix="choose another --output, or pass --overwrite to replace it",
        )


def _clear(output: str) -> None:
    """Deletes an earlier export. Files that no export has written stay."""
    mark = _read_mark(output)
    if mark is not None:
        try:
            names = load_format(mark["format"]).names
        except (ImportError, KeyError, AttributeError):
            names = ()  # of another version
        delete(*(join(output, name) for name in (EXPORT, README, LEFT_OUT, *MAPS.values(), *names)))


def _mark(output: str, content: dict) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(join(output, EXPORT), lambda file: file.write(text.encode()), durable=True)


def _read_mark(output: str) -> dict | None:
    path = join(output, EXPORT)
    if not exists(path):
        return None
    try:
        content = json.loads(read_bytes(path))
    except ValueError:
        content = None
    return content if isinstance(content, dict) and "format" in content else None
