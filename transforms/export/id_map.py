"""Numbers for ids, for libraries that take only integers. Ids of an earlier export keep their numbers."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import InputError, StoreError
from ..contract.arrow_types import is_string_type, one_chunk
from ..contract.hashing import hash_values
from ..files.tables import open_parquet
from ..items.hash_index import HashIndex

NUMBER = "number"
"""Name of the column of numbers in the file of a map."""


@dataclasses.dataclass(frozen=True)
class IdMap:
    """Different ids and their numbers."""

    ids: pa.Array
    """The ids [V]."""
    numbers: np.ndarray
    """int64 [V], all different."""
    first: int
    """The smallest number that an id may have."""
    index: HashIndex
    """Finds the ids."""

    @classmethod
    def of(cls, ids: pa.Array, numbers: np.ndarray, first: int) -> "IdMap":
        """Builds a map."""
        return cls(ids, numbers, first, HashIndex.of(ids))

    def extended(self, ids: pa.Array) -> "IdMap":
        """Returns the map with ids that it does not have yet, in ascending order after all that it has.

        Args:
            ids: Different ids, of the type of those in the map.
        """
        new = ids.filter(pa.array(self.index.lookup(ids, self.ids) < 0))
        new = new.take(pc.array_sort_indices(new))
        start = self.numbers.max(initial=self.first - 1) + 1
        numbers = np.append(self.numbers, np.arange(start, start + len(new)))
        return IdMap.of(pa.concat_arrays([self.ids, new]), numbers, self.first)

    def of_ids(self, ids: pa.Array) -> pa.Array:
        """Returns the number of each id, int64 [n]. All of them must be in the map."""
        return pa.array(self.numbers[self.index.lookup(ids, self.ids)])

    def to_table(self, id_column: str) -> pa.Table:
        """Returns the map as a table of ids and numbers."""
        return pa.table({id_column: self.ids, NUMBER: self.numbers})


def read_id_map(path: str, id_column: str, data_type: pa.DataType, first: int) -> IdMap:
    """Reads the map of an earlier export.

    Args:
        path: Its file.
        id_column: Name of the column of ids.
        data_type: Type of the ids in the log.
        first: The smallest number that an id may have.

    Raises:
        InputError: The file cannot be read, or is no map of such ids.
    """
    try:
        with open_parquet(path) as parquet:
            table = parquet.read([id_column, NUMBER])
        ids, numbers = one_chunk(table[id_column]), one_chunk(table[NUMBER])
        if is_string_type(ids.type) != is_string_type(data_type):
            raise ValueError(f"{id_column} of type {ids.type}")
        if ids.null_count or numbers.null_count or not pa.types.is_integer(numbers.type):
            raise ValueError("an id without a number")
        ids, values = ids.cast(data_type), numbers.cast(pa.int64()).to_numpy()
        if values.min(initial=first) < first or len(np.unique(values)) < len(values):
            raise ValueError(f"a number below {first}, or one number for two ids")
        if len(np.unique(hash_values(ids))) < len(ids) and len(pc.unique(ids)) < len(ids):
            raise ValueError("two numbers for one id")
    except StoreError:  # the file is not to blame
        raise
    except (InputError, KeyError, ValueError, OSError, pa.ArrowException) as error:
        found = error.found if isinstance(error, InputError) else str(error).splitlines()[0]
        raise InputError(
            f"{path} cannot give this export its numbers",
            code="EXPORT-IDS",
            found=found,
            expected=f"a column {id_column} of type {data_type}, and {NUMBER}: different integers from {first} on",
            fix="name the output of an earlier export of this log with --ids, or leave --ids out",
        ) from error
    return IdMap.of(ids, values, first)
