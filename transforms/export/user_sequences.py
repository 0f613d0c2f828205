"""The kept interactions of a finished run as sequences, one shard at a time, as all exports read them."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import ArtifactError, InputError, StoreError
from ..contract.added_columns import SPLITS
from ..contract.arrow_types import one_chunk
from ..contract.columns import InteractionColumns
from ..contract.output_layout import SEQUENCES
from ..files.storage import join
from ..files.tables import open_parquet
from ..read.behaviours import behaviour_texts
from ..read.clock import kind_of
from ..read.time_texts import UNITS
from ..read.timestamps import decode_float, decode_text, parse_time
from ..run.manifest import Manifest, incomplete_manifest, read_manifest

TRAIN, VALIDATION, TEST = range(len(SPLITS))
"""Numbers of the parts of a split."""

_MICROSECONDS = 1_000_000

_FAR = 2**53
"""Times are moved to within so many microseconds of 1970, which is until 2255: what lies beyond is no time. Both
float64 and the nanoseconds of pandas hold these."""


@dataclasses.dataclass(frozen=True)
class UserSequences:
    """Interactions of some users, users together and each user's in order."""

    user_ids: pa.Array
    """The users [U], each with at least one interaction."""
    offsets: np.ndarray
    """int64 [U + 1]; user u owns interactions offsets[u] to offsets[u + 1]."""
    item_ids: pa.Array
    """Item of each interaction [n]."""
    moments: np.ndarray
    """int64 [n]; microseconds since 1970, strictly increasing within a user, see `moments_of`."""
    weights: np.ndarray
    """float32 [n]; how much each interaction should count in training."""
    split: np.ndarray
    """int8 [n]; TRAIN, VALIDATION or TEST."""
    behaviours: pa.Array | None = None
    """What the user did, as text [n]. None if the log has no behaviours."""

    @property
    def users(self) -> np.ndarray:
        """The user of each interaction as an index into `user_ids`, int64 [n]."""
        return np.repeat(np.arange(len(self.user_ids)), np.diff(self.offsets))

    @property
    def ranks(self) -> np.ndarray:
        """The place of each interaction in its user's sequence, from 0, int64 [n]."""
        return np.arange(len(self.weights)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))

    @property
    def ids_of_users(self) -> pa.Array:
        """The id of each interaction's user [n]."""
        return self.user_ids.take(pa.array(self.users))

    def count(self, rows: np.ndarray) -> np.ndarray:
        """Returns for each user how many of some interactions are theirs, int64 [U]; `rows` is bool [n]."""
        return np.bincount(self.users[rows], minlength=len(self.user_ids))

    def only(self, rows: np.ndarray) -> "UserSequences":
        """Returns the interactions for which `rows`, bool [n], is true. Users without any are left out."""
        if rows.all():
            return self
        lengths = self.count(rows)
        chosen = pa.array(rows)
        return UserSequences(
            self.user_ids.filter(pa.array(lengths > 0)),
            np.append(0, np.cumsum(lengths[lengths > 0])),
            self.item_ids.filter(chosen),
            self.moments[rows],
            self.weights[rows],
            self.split[rows],
            None if self.behaviours is None else self.behaviours.filter(chosen),
        )


def moments_of(timestamps: pa.Array, offsets: np.ndarray, columns: InteractionColumns, unit: str | None) -> np.ndarray:
    """Returns times in microseconds since 1970 that have the order of the sequences, int64 [n].

    Libraries sort by time, each in its own way where times are equal. So a time that does not come after the one before
    it is moved to one microsecond after it. Where the unit of the times is not known, a user's interactions are a
    second apart from 0 on.

    Args:
        timestamps: Times as in the log, each user's in order.
        offsets: int64 [U + 1]; user u owns times offsets[u] to offsets[u + 1].
        columns: How the times are read.
        unit: Their unit, one of UNITS; None if they are only an order.
    """
    lengths = np.diff(offsets)
    ranks = np.arange(len(timestamps)) - np.repeat(offsets[:-1], lengths)
    if unit is None:
        return ranks * _MICROSECONDS
    time = parse_time(pa.chunked_array([timestamps]), columns).to_numpy()
    kind, own_unit = kind_of(timestamps.type)
    per_second = UNITS[own_unit or unit]
    if kind == "text":
        seconds, rest = decode_text(time)
        moments = np.clip(seconds * _MICROSECONDS + rest // 1000, -_FAR, _FAR)
    elif kind == "float":
        moments = np.rint(np.clip(decode_float(time) * (_MICROSECONDS / per_second), -_FAR, _FAR)).astype(np.int64)
    elif per_second <= _MICROSECONDS:
        factor = _MICROSECONDS // per_second
        moments = np.clip(time, -_FAR // factor, _FAR // factor) * factor
    else:
        moments = np.clip(time // (per_second // _MICROSECONDS), -_FAR, _FAR)
    # Strictly increasing is the same as: less the rank, never falling. The running maximum of all users at once takes
    # numbers that grow from user to user: the user's, then the place among all values.
    values, places = np.unique(moments - ranks, return_inverse=True)
    start = np.repeat(np.arange(len(lengths)), lengths) * len(values)
    return values[np.maximum.accumulate(start + places) - start] + ranks


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run of `iadsr clean`, and how to read its sequences."""

    path: str
    """Its directory."""
    manifest: Manifest
    """Its manifest."""
    columns: InteractionColumns
    """How the columns of its log are read."""
    hold_out: int
    """So many of each user's last interactions are held out."""

    @classmethod
    def open(cls, path: str) -> "FinishedRun":
        """Opens a run.

        Raises:
            InputError: The directory holds no finished run.
            ArtifactError: The manifest is not complete.
        """
        manifest = read_manifest(path)
        try:
            named = dict(manifest.options["columns"]).items()
            values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in named}
            columns = InteractionColumns(**values)
            hold_out = int(manifest.options["hold_out"])
        except (KeyError, TypeError, ValueError) as error:
            raise incomplete_manifest(path, f"options: {error}") from error
        return cls(path, manifest, columns, hold_out)

    @property
    def splits(self) -> tuple[str, ...]:
        """The parts that the run holds."""
        return SPLITS if self.hold_out > 1 else SPLITS[::2] if self.hold_out else SPLITS[:1]

    @property
    def behaviours(self) -> tuple[str, ...]:
        """The behaviours of the order, weakest first, then others of the log; empty if it has none.

        So those of the order have the same places in every run.
        """
        named = self.columns.behaviours or ()
        return (*named, *(each.behaviour for each in self.manifest.behaviours if each.behaviour not in named))

    def behaviour_numbers(self, sequences: UserSequences) -> np.ndarray:
        """Returns the place of each interaction's behaviour in `behaviours`, int64 [n]. Without behaviours: 0."""
        if sequences.behaviours is None:
            return np.zeros(len(sequences.weights), np.int64)
        places = pc.index_in(sequences.behaviours, value_set=pa.array(self.behaviours, pa.string()))
        return places.to_numpy(zero_copy_only=False).astype(np.int64)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self._files())

    def sequences(self) -> Iterator[UserSequences]:
        """Yields the kept interactions of each shard, also those of weight 0.

        Raises:
            InputError: A file is missing or cannot be read.
            ArtifactError: A file is not as the run has written it.
        """
        for name, rows in self._files().items():
            path = join(self.path, *name.split("/"))
            try:
                with open_parquet(path) as parquet:
                    table = parquet.read()
                if len(table) != rows:
                    raise ValueError(f"{len(table):,} users")
                sequences = self._parse(table)
            except StoreError:
                raise
            except (InputError, ValueError, KeyError, OSError, pa.ArrowException) as error:
                raise ArtifactError(
                    f"{name} in {self.path} has changed since it was written",
                    code="EXPORT-CHANGED",
                    found=str(error).splitlines()[0] if str(error) else type(error).__name__,
                    expected=f"the sequences of {rows:,} users",
                    fix="clean the log again; do not use this output",
                ) from error
            yield sequences

    def _files(self) -> dict[str, int]:
        outputs = self.manifest.outputs
        return {file.path: file.rows for file in outputs if file.path.startswith(f"{SEQUENCES}/")}

    def _parse(self, table: pa.Table) -> UserSequences:
        lists = {name: one_chunk(table[name]) for name in ("item_ids", "timestamps", "weights")}
        offsets = np.append(0, np.cumsum(lists["item_ids"].value_lengths().to_numpy(zero_copy_only=False)))
        offsets = offsets.astype(np.int64)
        split = np.zeros(offsets[-1], np.int8)
        if self.hold_out:
            parts = one_chunk(table["splits"]).flatten()
            split = pc.index_in(parts, value_set=pa.array(SPLITS, parts.type)).to_numpy().astype(np.int8)
        behaviours = None
        if self.columns.behaviour is not None:
            behaviours = behaviour_texts(one_chunk(table["behaviours"]).flatten()).cast(pa.string())
        return UserSequences(
            one_chunk(table["user_id"]),
            offsets,
            lists["item_ids"].flatten(),
            moments_of(lists["timestamps"].flatten(), offsets, self.columns, self.manifest.times.unit),
            lists["weights"].flatten().to_numpy(),
            split,
            behaviours,
        )
