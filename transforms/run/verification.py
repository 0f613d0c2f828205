"""Checks a finished run from its files alone: they are the files that were written, their rows add up, and they agree.

Nothing here trusts the run that wrote the files: orders, sequences and sums are worked out again. Input files that have
not changed since are read again, and their ids are compared with the ids in the output.
"""

import dataclasses
import os
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...models.core.errors import ArtifactError, ConservationError, InputError
from ...models.core.reasons import REASONS, reason_codes
from ..contract.added_columns import SPLITS, added_columns
from ..contract.arrow_types import one_chunk
from ..contract.columns import TIME, InteractionColumns
from ..contract.hashing import hash_values
from ..contract.output_layout import INTERACTIONS, REJECTED, SEQUENCES, USERS
from ..contract.output_schemas import REJECTED_SCHEMA, USER_FIELDS, added_fields
from ..contract.schemas import check_file_schema
from ..files.partitions import add_partitions
from ..files.storage import is_local, is_unchanged, join, list_names
from ..files.store import FileInfo
from ..files.tables import describe_file, open_parquet
from ..read.clock import Clock, TimeFacts, kind_of
from ..read.ids import read_ids
from ..read.ordering import OrderedShard, order_interactions
from ..read.read_splits import conform
from ..read.timestamps import parse_time
from ..write.users import RUN, SHARED_ACCOUNT, WHOLE_USER_RULES, counted_items, shared_accounts
from .manifest import InputFile, Manifest, RowCounts, incomplete_manifest, read_manifest

_AGAIN = "clean the log again; do not use this output"


@dataclasses.dataclass(frozen=True)
class Verified:
    """What has been checked and found right."""

    rows: RowCounts
    """Rows of the whole log."""
    files: int
    """Files of the output."""
    users: int
    """Users in `interactions/`."""
    inputs: int
    """Input files in all."""
    inputs_compared: int
    """Input files that have not changed, and whose rows and ids were compared with the output."""
    skipped: int
    """Files of the log that the run left out, as it was told to."""


def verify_output(output: str) -> Verified:
    """Checks the result of `iadsr clean`.

    Raises:
        InputError: The run is not finished, or no input file is left as it was.
        ArtifactError: A file is missing, added or changed, or its content breaks the contract.
        ConservationError: Rows do not add up, or are not those of the input.
    """
    manifest = read_manifest(output)
    columns, added = _check_manifest(output, manifest)
    _check_files(output, manifest)
    rejected = _check_rejected(output, manifest)
    users, checksum, schema = _check_shards(output, manifest, columns, added)
    compared = _check_inputs(output, manifest, columns, rejected, schema, checksum)
    return Verified(
        rows=manifest.rows,
        files=len(manifest.outputs),
        users=users,
        inputs=len(manifest.files),
        inputs_compared=compared,
        skipped=len(manifest.skipped_files),
    )


def _check_manifest(output: str, manifest: Manifest) -> tuple[InteractionColumns, dict[str, str]]:
    """Checks that the manifest's own counts add up.

    Returns:
        The columns that it names: those of the log, and those that cleaning has added.
    """
    try:
        named = dict(manifest.options["columns"]).items()
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in named}
        columns = InteractionColumns(**values)
        if not all(isinstance(name, str) for name in columns.required):
            raise TypeError("a column's name is no text")
        added = manifest.options["added_columns"]
        hold_out = manifest.options["hold_out"]
        if type(hold_out) is not int:
            raise TypeError("hold_out: no number")
        expected = added_columns(scored=manifest.model is not None, split=hold_out > 0)
        if list(added) != list(expected) or not all(isinstance(name, str) for name in added.values()):
            raise TypeError("added_columns: not a name for each column")
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise incomplete_manifest(output, f"options: {error}") from error
    if not any(file.path.startswith(f"{INTERACTIONS}/") for file in manifest.outputs):
        raise incomplete_manifest(output, f"outputs: no file in {INTERACTIONS}/")
    _check_sum(output, manifest.rows)
    for file in manifest.files:
        _check_sum(file.path, file)
    by_file = {
        "read": sum(file.read for file in manifest.files),
        "kept": sum(file.kept for file in manifest.files),
        "dropped": sum(file.dropped for file in manifest.files),
        "rejected": sum(file.rejected for file in manifest.files),
    }
    for name, expected in dataclasses.asdict(manifest.rows).items():
        _check_count(f"{name} rows by file", by_file[name], expected)
    return columns, added


def _check_sum(path: str, rows: RowCounts | InputFile) -> None:
    parts = rows.kept + rows.dropped + rows.rejected
    if parts != rows.read:
        raise ConservationError(
            f"Rows of {path} do not add up in the manifest",
            code="VERIFY-SUM",
            found=f"{rows.kept:,} kept + {rows.dropped:,} dropped + {rows.rejected:,} rejected = {parts:,}",
            expected=f"{rows.read:,} rows read",
            fix=_AGAIN,
        )


def _check_count(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise ConservationError(
            f"The number of {what} differs from the manifest",
            code="VERIFY-ROWS",
            found=f"{found:,}",
            expected=f"{expected:,}",
            fix=_AGAIN,
        )


def _check_files(output: str, manifest: Manifest) -> None:
    listed = {file.path: file for file in manifest.outputs}
    there = {name for name in list_names(output) if name.split("/")[0] in (INTERACTIONS, SEQUENCES, USERS, REJECTED)}
    if odd := sorted(there ^ listed.keys()):
        raise ArtifactError(
            f"The files in {output} differ from the manifest",
            code="VERIFY-FILES",
            found=f"{odd[0]} is {'missing' if odd[0] in listed else 'not in the manifest'}",
            expected=f"{len(listed):,} files",
            fix=_AGAIN,
        )
    for name, expected in listed.items():
        found = dataclasses.replace(describe_file(join(output, *name.split("/"))), path=name)
        if found != expected:
            raise ArtifactError(
                f"{name} in {output} has changed since it was written",
                code="VERIFY-CHANGED",
                found=f"{found.rows:,} rows, {found.size:,} bytes, sha256 {found.sha256[:16]}...",
                expected=f"{expected.rows:,} rows, {expected.size:,} bytes, sha256 {expected.sha256[:16]}...",
                fix=_AGAIN,
            )


def _check_rejected(output: str, manifest: Manifest) -> dict[str, np.ndarray]:
    """Compares the rejected rows with the manifest; returns their row numbers by file."""
    names = [file.path for file in manifest.outputs if file.path.startswith(f"{REJECTED}/")]
    tables = [_read(output, name) for name in names]
    for name, table in zip(names, tables, strict=True):
        if not table.schema.equals(REJECTED_SCHEMA):
            raise _broken(name, "the schema", str(table.schema.names), str(REJECTED_SCHEMA.names))
    table = pa.concat_tables([REJECTED_SCHEMA.empty_table(), *tables])
    reasons = Counter(table["reason"].to_pylist())
    expected = manifest.reasons.rejected
    for reason in reasons.keys() | expected.keys():
        _check_count(f"rows rejected for {reason!r}", reasons[reason], expected.get(reason, 0))
    result = {}
    for file in manifest.files:
        rows = table.filter(pc.equal(table["file"], file.path))["row_number"].to_numpy()
        _check_count(f"different rejected rows of {file.path}", len(np.unique(rows)), file.rejected)
        result[file.path] = rows
    _check_count("rejected rows", len(table), manifest.rows.rejected)
    return result


def _check_shards(
    output: str, manifest: Manifest, columns: InteractionColumns, added: dict[str, str]
) -> tuple[int, int, pa.Schema]:
    """Checks interactions and sequences shard by shard.

    Returns:
        The number of users, the checksum of the ids, and the schema of all files of interactions.
    """
    prefix = f"{INTERACTIONS}/"
    names = [file.path.removeprefix(prefix) for file in manifest.outputs if file.path.startswith(prefix)]
    with open_parquet(join(output, INTERACTIONS, names[0])) as parquet:
        schema = _check_schema(f"{prefix}{names[0]}", parquet.schema_arrow, columns, added)
    kept = dropped = checksum = weightless = accounts = 0
    users: list[np.ndarray] = []
    for name in names:
        path = f"{INTERACTIONS}/{name}"
        table = _read(output, path)
        if not table.schema.equals(schema):
            raise _broken(path, "the schema", str(table.schema.names), f"that of the other files in {INTERACTIONS}")
        _check_values(path, table, added)
        ordered = order_interactions(_with_time(path, table, columns), columns)
        if not np.array_equal(ordered.rows, np.arange(len(table))):
            row = int((ordered.rows != np.arange(len(table))).argmax())
            raise _broken(path, "the order", f"row {row} out of place", "users together, each in time order")
        if "split" in added:
            _check_split(path, table, ordered.offsets, manifest.options["hold_out"], added)
        _check_sequences(output, name, table, ordered.offsets, columns, added)
        accounts += _check_users(output, name, table, ordered, columns, added, manifest)
        users.append(hash_values(ordered.user_ids(columns)))
        kept_here = pc.sum(table[added["keep"]]).as_py() or 0
        kept, dropped = kept + kept_here, dropped + len(table) - kept_here
        checksum += _id_checksum(table, columns)
        weightless += int((table[added["keep"]].to_numpy() & (table[added["weight"]].to_numpy() == 0)).sum())
    if manifest.weightless is not None:
        _check_count("interactions kept that weigh 0", weightless, manifest.weightless)
    if manifest.users.shared_accounts is not None:
        _check_count("shared accounts", accounts, manifest.users.shared_accounts)
    _check_count("kept rows", kept, manifest.rows.kept)
    _check_count("dropped rows", dropped, manifest.rows.dropped)
    everyone = np.concatenate(users) if users else np.zeros(0, np.uint64)
    if len(np.unique(everyone)) != len(everyone):
        raise _broken(INTERACTIONS, "the list of users", "a user in two files", "each user in one file")
    return len(everyone), checksum % 2**64, schema


def _check_schema(path: str, schema: pa.Schema, columns: InteractionColumns, added: dict[str, str]) -> pa.Schema:
    """Checks that a file of interactions has the columns of a log, followed by those that cleaning adds."""
    fields, count = list(schema), len(added)
    if fields[-count:] != list(added_fields(added)) or len(set(schema.names)) < len(fields):
        expected = ", ".join(added.values())
        raise _broken(path, "the schema", str(schema.names), f"one that ends with {expected}")
    try:
        check_file_schema(pa.schema(fields[:-count]), columns, path)
    except InputError as error:
        raise _broken(path, "the schema", error.what, f"columns {', '.join(columns.required)}, as in a log") from error
    return schema


def _with_time(path: str, table: pa.Table, columns: InteractionColumns) -> pa.Table:
    """Checks that all required columns hold values, and appends the times as integers."""
    time = parse_time(table[columns.timestamp], columns)
    for name, values in (*((name, table[name]) for name in columns.required), (columns.timestamp, time)):
        if values.null_count:
            raise _broken(path, f"column {name!r}", "null, or a value that is no time", "a value in each row")
    return table.append_column(TIME, time)


def _check_values(path: str, table: pa.Table, added: dict[str, str]) -> None:
    keep, reason = table[added["keep"]].to_numpy(), table[added["reason"]]
    for name in (added[column] for column in ("noise_probability", "weight") if column in added):
        values = table[name].to_numpy()
        if not ((values >= 0) & (values <= 1)).all():
            raise _broken(path, name, "NaN, or a value out of range", "values in [0, 1]")
    fits_dropped = pc.is_in(reason, value_set=pa.array(reason_codes("dropped"))).to_numpy()
    fits_kept = pc.is_in(reason, value_set=pa.array([None, *reason_codes("kept")])).to_numpy()
    if not np.where(keep, fits_kept, fits_dropped).all():
        raise _broken(path, "a reason", "one that does not go with keep", "a reason to drop only if keep is false")


def _check_split(path: str, table: pa.Table, offsets: np.ndarray, hold_out: int, added: dict[str, str]) -> None:
    """Checks that the last interactions of each user are held out, and kept with full weight."""
    lengths = np.diff(offsets)
    from_end = np.repeat(offsets[1:], lengths) - np.arange(len(table))
    held_out = (from_end <= hold_out) & np.repeat(lengths > hold_out, lengths)
    expected = pa.array(SPLITS).take(pa.array(np.where(held_out, np.where(from_end == 1, 2, 1), 0)))
    if not one_chunk(table[added["split"]]).equals(expected):
        raise _broken(path, added["split"], "other parts", f"the last {hold_out} of each user for validation and test")
    weight = table[added["weight"]].to_numpy()
    if not (table[added["keep"]].to_numpy()[held_out].all() and (weight[held_out] == 1).all()):
        raise _broken(path, "what is held out", "dropped, or of less weight", "kept, with a weight of 1")


def _check_sequences(
    output: str,
    name: str,
    table: pa.Table,
    offsets: np.ndarray,
    columns: InteractionColumns,
    added: dict[str, str],
) -> None:
    """Checks that a shard's sequences are the kept interactions of its file, to the bit."""
    path = f"{SEQUENCES}/{name}"
    sequences = _read(output, path)
    keep = table[added["keep"]].to_numpy()
    lengths = np.diff(np.append(0, np.cumsum(keep))[offsets])  # [users]
    kept = table.filter(pa.array(keep))
    expected = {
        "item_ids": kept[columns.item],
        "timestamps": kept[columns.timestamp],
        "weights": kept[added["weight"]],
    }
    if columns.behaviour is not None:
        expected["behaviours"] = kept[columns.behaviour]
    if "split" in added:
        expected["splits"] = kept[added["split"]]
    if sequences.column_names != ["user_id", *expected]:
        raise _broken(path, "the schema", ", ".join(sequences.column_names), ", ".join(["user_id", *expected]))
    users = one_chunk(table[columns.user]).take(offsets[:-1][lengths > 0])
    if not one_chunk(sequences["user_id"]).equals(users):
        raise _broken(path, "the list of users", "others", f"those with a kept interaction in {INTERACTIONS}/{name}")
    for column, values in expected.items():
        lists = one_chunk(sequences[column])
        if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
            raise _broken(path, column, str(lists.type), "a list for each user")
        found = lists.value_lengths().to_numpy(zero_copy_only=False)
        if not np.array_equal(found, lengths[lengths > 0]) or not lists.flatten().equals(one_chunk(values)):
            raise _broken(path, column, "other values", f"those of the kept interactions in {INTERACTIONS}/{name}")


def _check_users(
    output: str,
    name: str,
    table: pa.Table,
    ordered: OrderedShard,
    columns: InteractionColumns,
    added: dict[str, str],
    manifest: Manifest,
) -> int:
    """Checks that a shard's users are those of its interactions, described as the interactions say.

    Returns:
        How many are named as shared accounts.
    """
    path, offsets = f"{USERS}/{name}", ordered.offsets
    users = _read(output, path)
    expected = ["user_id", "first", "last", *(field.name for field in USER_FIELDS)]
    if users.column_names != expected or list(users.schema)[3:] != list(USER_FIELDS):
        raise _broken(path, "the schema", ", ".join(users.column_names), ", ".join(expected))
    ids = one_chunk(table[columns.user]).take(offsets[:-1])
    if not one_chunk(users["user_id"]).equals(ids):
        raise _broken(path, "the list of users", "others", f"those of {INTERACTIONS}/{name}")
    times = one_chunk(table[columns.timestamp])
    for column, rows in (("first", offsets[:-1]), ("last", offsets[1:] - 1)):
        if not one_chunk(users[column]).equals(times.take(rows)):
            raise _broken(path, column, "other times", f"those of {INTERACTIONS}/{name}")
    kept = np.diff(np.append(0, np.cumsum(table[added["keep"]].to_numpy()))[offsets])
    figures = {"interactions": np.diff(offsets), "kept": kept, **_figures(table, ordered, columns, added, manifest)}
    for column, values in figures.items():
        found = users[column].to_numpy().astype(np.float64)  # null is NaN
        if not np.allclose(found, values, rtol=1e-5, atol=1e-5, equal_nan=True):
            raise _broken(path, column, "other numbers", f"those of {INTERACTIONS}/{name}")
    _check_verdicts(path, users, table[added["reason"]], ordered, manifest)
    return pc.sum(pc.equal(users["reason"], SHARED_ACCOUNT)).as_py() or 0


def _figures(
    table: pa.Table, ordered: OrderedShard, columns: InteractionColumns, added: dict[str, str], manifest: Manifest
) -> dict[str, np.ndarray]:
    """Returns what the numbers that describe each user should be, NaN for null."""
    offsets, users, count = ordered.offsets, ordered.users, len(ordered.offsets) - 1
    lengths = np.diff(offsets)
    span = days = coherence = np.full(count, np.nan)
    if manifest.times.resolution_seconds is not None:
        kind, _ = kind_of(table.schema.field(columns.timestamp).type)
        clock = Clock(kind, manifest.times.unit, None, 0, 0, len(table), TimeFacts())
        seconds, day = clock.seconds(ordered.time), clock.days(ordered.time)
        span = seconds[offsets[1:] - 1] - seconds[offsets[:-1]]
        days = _count_different(users, day - day.min(), count)
    if "noise_probability" in added:
        reasons = pa.array([reason.code for reason in REASONS if not reason.judged])
        judged = ~pc.is_in(table[added["reason"]], value_set=reasons).to_numpy()
        noise = table[added["noise_probability"]].to_numpy().astype(np.float64)
        with np.errstate(invalid="ignore"):
            coherence = 1 - np.bincount(users[judged], noise[judged], count) / np.bincount(
                users[judged], minlength=count
            )
    return {
        "span_seconds": span,
        "active_days": days,
        "interactions_per_active_day": lengths / days,
        "share_of_repeats": 1 - _count_different(users, ordered.items, count) / lengths,
        "coherence": coherence,
    }


def _count_different(users: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Returns how many different values each user has, [count]; users and values are numbers from 0 on."""
    width = int(values.max(initial=0)) + 1
    return np.bincount(np.unique(users * width + values) // width, minlength=count)


def _check_verdicts(
    path: str, users: pa.Table, reasons: pa.ChunkedArray, ordered: OrderedShard, manifest: Manifest
) -> None:
    """Checks that what is said of users as a whole goes with their interactions, and with what the rules do."""
    drops = {found.rule: found.drops for found in manifest.rules if found.rule in WHOLE_USER_RULES}
    named = users["reason"].to_pylist()
    taken = [set[str]() for _ in named]
    whole = pc.is_in(reasons, value_set=pa.array(WHOLE_USER_RULES)).to_numpy()
    for user, reason in set(
        zip(ordered.users[whole].tolist(), reasons.filter(pa.array(whole)).to_pylist(), strict=True)
    ):
        taken[user].add(reason)
    of_others = pc.equal(reasons, RUN).fill_null(False).to_numpy()
    accounts = shared_accounts(ordered.users[of_others], len(named), counted_items(ordered, of_others))
    for reason, of_interactions, shared in zip(named, taken, accounts, strict=True):
        if reason is None or reason == SHARED_ACCOUNT:
            fits = not of_interactions and shared == (reason == SHARED_ACCOUNT)
        else:
            fits = reason in drops and (reason in of_interactions) == drops[reason]
        if not fits:
            expected = "what names the user, as in the interactions and in the manifest"
            raise _broken(path, "reason", str(reason), expected)
    suspect = np.array([not drops.get(reason, True) for reason in named], bool)
    kept, length = users["kept"].to_numpy(), users["interactions"].to_numpy()
    held_out = np.bincount(
        ordered.users[pc.equal(reasons, "held_out").fill_null(False).to_numpy()], minlength=len(users)
    )
    expected = np.select([kept == held_out, suspect, kept < length], ["dropped", "suspect", "shortened"], "kept")
    if users["verdict"].to_pylist() != expected.tolist():
        raise _broken(path, "verdict", "another one", "one that goes with reason, interactions and kept")


def _check_inputs(
    output: str,
    manifest: Manifest,
    columns: InteractionColumns,
    rejected: dict[str, np.ndarray],
    schema: pa.Schema,
    checksum: int,
) -> int:
    """Compares input files that have not changed with the output; returns the number of these files."""
    unchanged = [(file, path) for file in manifest.files if (path := _find_unchanged(file, manifest.directory))]
    if not unchanged:
        raise InputError(
            f"{output} is whole in itself, but none of its input files could be compared with it",
            code="VERIFY-NO-INPUT",
            found=f"{len(manifest.files):,} input files, all of them gone, changed or out of reach, "
            f"such as {manifest.files[0].path}",
            expected="at least one input file as it was when it was read",
            fix="run iadsr verify where the input lies, before the input changes",
        )
    total = 0
    for file, path in unchanged:
        with open_parquet(path) as parquet:
            _check_count(f"rows in {file.path}", parquet.metadata.num_rows, file.read)
            first_row = 0
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                usable = np.ones(rows, bool)
                mine = rejected[file.path]
                usable[mine[(mine >= first_row) & (mine < first_row + rows)] - first_row] = False
                first_row += rows
                if usable.any():  # the rows of a group that cannot be read are all rejected
                    part = _read_ids(file, parquet, group, columns, schema)
                    total += _id_checksum(part.filter(pa.array(usable)), columns)
    if len(unchanged) == len(manifest.files) and total % 2**64 != checksum:
        raise ConservationError(
            "Users, items or times in the output are not those of the input",
            code="VERIFY-IDS",
            found=f"checksum {checksum:016x}",
            expected=f"checksum {total % 2**64:016x}, from the usable rows of {len(unchanged):,} files",
            fix=_AGAIN,
        )
    return len(unchanged)


def _read_ids(
    file: InputFile, parquet: pq.ParquetFile, group: int, columns: InteractionColumns, schema: pa.Schema
) -> pa.Table:
    """Reads users, items and times of a row group of an input file, in the types of the output."""
    names = columns.required[:3]
    try:
        read = parquet.read_row_group(group, columns=[name for name in names if name not in file.partitions])
        read = add_partitions(read, tuple(file.partitions.items()), schema)
        conformed = {name: conform(read[name], name, schema.field(name).type, columns) for name in names}
        for name in (columns.user, columns.item):
            conformed[name] = read_ids(conformed[name], name).values.cast(schema.field(name).type)
        return pa.table(conformed)
    # The file may be anything, so its parser may raise anything.
    except Exception as error:
        raise InputError(
            f"Row group {group} of {file.path} can no longer be read with the columns of this output",
            code="VERIFY-INPUT",
            found=type(error).__name__,  # not its message: it may quote a value, which may be a user's id
            expected=", ".join(f"{name} {schema.field(name).type}" for name in names),
            fix=_AGAIN,
        ) from error


def _find_unchanged(file: InputFile, directory: str | None) -> str | None:
    """Returns where an input file lies as it was when it was read; None if it cannot be found or has changed.

    A relative path is tried from the working directory of the run, then from the one of today.
    """
    moved = [os.path.join(directory, file.path)] if directory is not None and is_local(file.path) else []
    for path in (*moved, file.path):
        # A result may be verified on a machine that cannot reach its input.
        with suppress(InputError):
            if is_unchanged(FileInfo(path, file.bytes, file.changed_at)):
                return path
    return None


def _id_checksum(table: pa.Table, columns: InteractionColumns) -> int:
    """Sums up hashes of (user, item, time) over all rows, modulo 2^64. The order of the rows does not matter."""
    if not len(table):
        return 0
    hashes = [hash_values(one_chunk(table[name])) for name in (columns.user, columns.item)]
    hashes.append(hash_values(parse_time(table[columns.timestamp], columns)))
    mixed = sum(values * np.uint64(odd) for values, odd in zip(hashes, (1, 3, 5), strict=True))
    return int(hash_values(pa.array(np.asarray(mixed).view(np.int64))).sum())


def _read(output: str, name: str) -> pa.Table:
    with open_parquet(join(output, *name.split("/"))) as parquet:
        try:
            table = parquet.read()
            table.validate()
            return table
        # The file may be anything, so its parser may raise anything.
        except Exception as error:
            raise _broken(name, "a page", type(error).__name__, "pages that can be read") from error


def _broken(path: str, what: str, found: str, expected: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: {what} is not as `iadsr clean` writes it",
        code="VERIFY-CONTENT",
        found=found,
        expected=expected,
        fix=_AGAIN,
    )
