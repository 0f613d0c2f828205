"""What is different between two finished runs: rows, decisions, and why. One shard of users is in memory at a time."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...models.core.errors import InputError
from ..contract.columns import InteractionColumns
from ..contract.output_layout import INTERACTIONS
from ..files.storage import join, write_atomically
from ..files.tables import open_parquet
from .manifest import Manifest, incomplete_manifest

NEW_ROW, REMOVED_ROW = "new row", "removed row"
NOW_DROPPED, NOW_KEPT, OTHER_REASON = "now dropped", "now kept", "other reason"
CHANGES = (NEW_ROW, REMOVED_ROW, NOW_DROPPED, NOW_KEPT, OTHER_REASON)
"""What may have happened to a row, in the order in which it is shown."""

USER_NEW, USER_REMOVED, USER_BOTH = "the user has new rows", "the user has removed rows", "the user has both"
MODEL, POLICY, VERSIONS = "new model or embeddings", "new rules or policy", "new version"
REST = "the rest of the log"

_ROW_COLUMNS = ("user", "item", "timestamp", "position", "behaviour")


@dataclasses.dataclass(frozen=True)
class Change:
    """How many rows have changed in one way for one cause."""

    change: str
    """One of CHANGES."""
    why: str
    """The cause; empty for rows that are new or removed."""
    interactions: int
    """Number of rows."""
    users: int
    """Number of their users."""


@dataclasses.dataclass(frozen=True)
class RunChanges:
    """What is different between two runs."""

    interactions: tuple[int, int]
    """Interactions of the earlier and of the later run."""
    users: tuple[int, int]
    """Their users."""
    unchanged: int
    """Interactions of both runs with the same decision and the same reason."""
    causes: tuple[str, ...]
    """What differs between the runs beside their rows: model, rules or policy, versions."""
    changes: tuple[Change, ...]
    """What has changed, in the order of CHANGES."""


@dataclasses.dataclass(frozen=True)
class _Run:
    path: str
    manifest: Manifest
    columns: InteractionColumns
    added: dict[str, str]

    @classmethod
    def of(cls, path: str, manifest: Manifest) -> "_Run":
        try:
            named = dict(manifest.options["columns"]).items()
            values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in named}
            added = manifest.options["added_columns"]
            return cls(path, manifest, InteractionColumns(**values), {name: added[name] for name in ("keep", "reason")})
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise incomplete_manifest(path, f"options: {error}") from error

    @property
    def files(self) -> list[str]:
        """The files of interactions, each with one shard."""
        return [file.path for file in self.manifest.outputs if file.path.startswith(f"{INTERACTIONS}/")]

    def read(self, file: str) -> pa.Table:
        """Returns the rows of a shard by their roles, with keep and reason."""
        roles = {role: name for role in _ROW_COLUMNS if (name := getattr(self.columns, role)) is not None}
        with open_parquet(join(self.path, *file.split("/"))) as parquet:
            table = parquet.read(columns=[*roles.values(), *self.added.values()], use_threads=False)
        return table.select([*roles.values(), *self.added.values()]).rename_columns([*roles, *self.added])


def compare_runs(earlier: tuple[str, Manifest], later: tuple[str, Manifest], rows: str | None = None) -> RunChanges:
    """Compares two finished runs, shard by shard.

    Args:
        earlier: Directory and manifest of the earlier run.
        later: Of the later run.
        rows: Parquet file to write every row to that has changed; None: none.

    Raises:
        InputError: A file cannot be read or written.
        ArtifactError: A manifest is not complete.
    """
    first, second = _Run.of(*earlier), _Run.of(*later)
    causes = _causes(first.manifest, second.manifest)
    counts: Counter[tuple[str, str]] = Counter()
    users: Counter[tuple[str, str]] = Counter()
    unchanged = 0

    def changed() -> Iterator[pa.Table]:
        nonlocal unchanged
        for one, other in _pairs(first, second):
            table = compare_rows(one, other, causes)
            unchanged += len(other) - len(table) + _number(table, REMOVED_ROW)
            for (change, why), (number, of_users) in _count(table).items():
                counts[change, why] += number
                users[change, why] += of_users
            yield table

    if rows is None:
        for _ in changed():
            pass
    else:
        write_atomically(rows, lambda file: _write(file, changed()), durable=True)
    order = {change: place for place, change in enumerate(CHANGES)}
    return RunChanges(
        (
            first.manifest.rows.kept + first.manifest.rows.dropped,
            second.manifest.rows.kept + second.manifest.rows.dropped,
        ),
        (first.manifest.users.total, second.manifest.users.total),
        unchanged,
        causes,
        tuple(Change(*key, counts[key], users[key]) for key in sorted(counts, key=lambda key: (order[key[0]], key[1]))),
    )


def _pairs(first: _Run, second: _Run) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yields the rows of the same users in both runs."""
    names = {name.rpartition("/")[2] for name in first.files}, {name.rpartition("/")[2] for name in second.files}
    ends = {name.rpartition("-of-")[2] for names_of_run in names for name in names_of_run}
    if len(ends) <= 1:  # users are in the same shard of both
        for name in sorted(names[0] | names[1]):
            file = f"{INTERACTIONS}/{name}"
            one = first.read(file) if name in names[0] else None
            other = second.read(file) if name in names[1] else None
            yield _like(one, other), _like(other, one)
        return
    for file in second.files:
        other = second.read(file)
        ids = pc.unique(_text(other["user"]))
        parts = [table.filter(pc.is_in(_text(table["user"]), value_set=ids)) for table in map(first.read, first.files)]
        yield pa.concat_tables(parts) if parts else other.slice(0, 0), other
    for file in first.files:  # those who are in no shard of the later run
        one = first.read(file)
        left = _text(one["user"])
        for later in second.files:
            ids = pc.unique(_text(second.read(later)["user"]))
            gone = pc.invert(pc.is_in(left, value_set=ids))
            one, left = one.filter(gone), left.filter(gone)
        yield one, one.slice(0, 0)


def _like(table: pa.Table | None, other: pa.Table | None) -> pa.Table:
    if table is not None:
        return table
    assert other is not None
    return other.slice(0, 0)


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.large_string())


def compare_rows(earlier: pa.Table, later: pa.Table, causes: tuple[str, ...] = ()) -> pa.Table:
    """Compares the rows of the same users in two runs. Rows of the same values are told apart by their order.

    Args:
        earlier: user, item, timestamp, perhaps position and behaviour; keep, reason.
        later: The same of the later run.
        causes: What differs between the runs beside their rows.

    Returns:
        The rows that have changed: change, why, user, item, timestamp, the earlier and the later keep and reason.
    """
    names = [name for name in _ROW_COLUMNS if name in earlier.column_names and name in later.column_names]
    for name in names:
        if earlier[name].type != later[name].type:
            earlier, later = (
                table.set_column(table.column_names.index(name), name, _text(table[name])) for table in (earlier, later)
            )
    codes = np.stack([_codes(earlier[name], later[name]) for name in names])  # [columns, rows of both]
    side = np.repeat([0, 1], [len(earlier), len(later)])
    order = np.lexsort((np.arange(len(side)), side, *codes[::-1]))
    sorted_codes, sorted_side = codes[:, order], side[order]
    begins = np.append(True, (sorted_codes[:, 1:] != sorted_codes[:, :-1]).any(0))[: len(order)]
    group = np.cumsum(begins) - 1
    begins_side = begins | np.append(True, sorted_side[1:] != sorted_side[:-1])[: len(order)]
    start = np.flatnonzero(begins_side)
    nth = np.arange(len(order)) - np.repeat(start, np.diff(np.append(start, len(order))))
    # The nth row of a key in one run is the nth one in the other.
    again = np.lexsort((sorted_side, nth, group))
    same = (group[again][1:] == group[again][:-1]) & (nth[again][1:] == nth[again][:-1])
    matched = order[again]
    one, other = matched[:-1][same], matched[1:][same] - len(earlier)
    alone = np.ones(len(order), bool)
    alone[one], alone[other + len(earlier)] = False, False
    removed, new = np.flatnonzero(alone[: len(earlier)]), np.flatnonzero(alone[len(earlier) :])

    user = codes[0]
    has_new, has_removed = (np.isin(user, user[rows]) for rows in (new + len(earlier), removed))
    before, after = _bools(earlier["keep"])[one], _bools(later["keep"])[other]
    reason = _codes(_text(earlier["reason"]), _text(later["reason"]))
    differs = reason[one] != reason[other + len(earlier)]
    kind = np.where(before & ~after, 0, np.where(~before & after, 1, np.where(differs, 2, -1)))
    told = np.flatnonzero(kind >= 0)
    one, other, kind = one[told], other[told], kind[told]
    by_rows = has_new[one] + 2 * has_removed[one]
    whole = "; ".join(causes)
    words = np.array(
        [
            whole or REST,
            *("; ".join(filter(None, (own, whole))) for own in (USER_NEW, USER_REMOVED, USER_BOTH)),
        ],
        object,
    )
    return pa.concat_tables(
        [
            _rows(earlier, removed, REMOVED_ROW, "", earlier, None),
            _rows(later, new, NEW_ROW, "", None, later),
            _rows(
                later,
                other,
                np.array([NOW_DROPPED, NOW_KEPT, OTHER_REASON], object)[kind],
                words[by_rows],
                earlier,
                later,
                one,
            ),
        ],
        promote_options="permissive",
    )


def _rows(
    source: pa.Table,
    rows: np.ndarray,
    change: Any,
    why: Any,
    earlier: pa.Table | None,
    later: pa.Table | None,
    earlier_rows: np.ndarray | None = None,
) -> pa.Table:
    number = len(rows)

    def text(values: Any) -> pa.Array:
        return pa.array(np.broadcast_to(np.asarray(values, object), number).tolist(), pa.string())

    def taken(table: pa.Table | None, name: str, at: np.ndarray, data_type: pa.DataType) -> Any:
        return pa.nulls(number, data_type) if table is None else table[name].take(pa.array(at)).cast(data_type)

    before = rows if earlier_rows is None else earlier_rows
    columns = {name: source[name].take(pa.array(rows)) for name in _ROW_COLUMNS if name in source.column_names}
    return pa.table(
        {
            "change": text(change),
            "why": text(why),
            **columns,
            "earlier_keep": taken(earlier, "keep", before, pa.bool_()),
            "earlier_reason": taken(earlier, "reason", before, pa.string()),
            "later_keep": taken(later, "keep", rows, pa.bool_()),
            "later_reason": taken(later, "reason", rows, pa.string()),
        }
    )


def _codes(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray:
    """Returns a number for each value of both, the same for equal values, int64; -1 for null."""
    both = pa.chunked_array([*one.chunks, *other.chunks], one.type).combine_chunks()
    if isinstance(both, pa.ChunkedArray):
        both = pa.concat_arrays(both.chunks) if both.num_chunks else pa.array([], one.type)
    encoded = both if pa.types.is_dictionary(both.type) else both.dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def _bools(values: pa.ChunkedArray) -> np.ndarray:
    return values.to_numpy().astype(bool)


def _number(table: pa.Table, change: str) -> int:
    return pc.sum(pc.equal(table["change"], change)).as_py() or 0


def _count(table: pa.Table) -> dict[tuple[str, str], tuple[int, int]]:
    grouped = table.group_by(["change", "why"]).aggregate([("user", "count"), ("user", "count_distinct")])
    columns = (grouped[name].to_pylist() for name in ("change", "why", "user_count", "user_count_distinct"))
    return {(change, why): (rows, users) for change, why, rows, users in zip(*columns, strict=True)}


def _write(file: Any, tables: Iterator[pa.Table]) -> None:
    first = next(tables)  # every run has a shard
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for table in chain([first], tables):
            writer.write_table(table.cast(first.schema))


def _causes(earlier: Manifest, later: Manifest) -> tuple[str, ...]:
    """Says what differs between two runs beside their rows."""

    def fingerprints(run: Manifest) -> tuple[str | None, ...]:
        return tuple(part.fingerprint if part is not None else None for part in (run.model, run.embeddings))

    def asked(run: Manifest) -> Any:
        return [run.options.get(name) for name in ("policy", "rules", "hold_out", "columns")]

    return tuple(
        cause
        for cause, look in (
            (MODEL, fingerprints),
            (POLICY, asked),
            (VERSIONS, lambda run: (run.iadsr_version, run.versions)),
        )
        if look(earlier) != look(later)
    )
