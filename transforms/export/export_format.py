"""What the module of an export format declares: what its library can hold, and how its files are written."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

import pyarrow as pa

from .user_sequences import FinishedRun, UserSequences


class Export(Protocol):
    """An export that is being written, as a format sees it."""

    @property
    def run(self) -> FinishedRun:
        """The run that is exported."""
        ...

    def sequences(self) -> Iterator[UserSequences]:
        """Yields what is to be written of each shard."""
        ...

    def numbered(self) -> "Iterator[tuple[UserSequences, pa.Array, pa.Array]]":
        """Yields the same with the numbers of the users, int64 [U], and of the items, int64 [n]."""
        ...

    @property
    def item_numbers(self) -> int:
        """The number after the largest number of an item."""
        ...

    def write_text(self, name: str, parts: Iterator[str]) -> None:
        """Writes one file of text from its parts. Folders in the name are separated by slashes."""
        ...

    def write_table(self, name: str, table: pa.Table) -> None:
        """Writes one Parquet file."""
        ...


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """One form of export."""

    library: str
    """The library that reads it."""
    names: tuple[str, ...]
    """Files and folders that it writes into the output directory."""
    write: Callable[[Export], None]
    """Writes them."""
    readme: Callable[[FinishedRun], str]
    """Returns what the README of an export says below its heading: first the shortest code that loads the export."""
    header: Callable[[FinishedRun], str] | None = None
    """Returns what stands above the heading of the README."""
    first_number: int | None = None
    """The first of the numbers that stand for ids; None if ids stay as they are."""
    keeps_users: bool = True
    """Whether users can keep the numbers of an earlier export, which leaves gaps where users are gone."""
    splits_itself: bool = False
    """Whether the library takes each user's last interactions away itself. Users then need exactly those that are held
    out, and some others."""
    hold_outs: tuple[int, ...] | None = None
    """Numbers of held-out interactions that it can have; None: any."""
    once: bool = False
    """Whether a user can have an item only once in each part of the split. The last time counts."""
    unfit: Callable[[pa.Array], pa.Array] | None = None
    """Returns which ids the library cannot hold, bool [n]."""
