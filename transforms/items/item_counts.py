"""Counts interactions per item over the whole log. By these counts, items fall into buckets of popularity."""

import dataclasses
from functools import cached_property

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.noise.popularity import bucket_edges
from ..contract.arrow_types import one_chunk
from ..files.run_paths import StagingPaths
from ..files.storage import write_atomically
from ..files.tables import read_arrow
from .hash_index import HashIndex


@dataclasses.dataclass(frozen=True)
class ItemCounts:
    """How often each item occurs in what the rules have left of the log. An item of which nothing is left has 0."""

    item_ids: pa.Array
    """Distinct ids [V], ascending."""
    counts: np.ndarray
    """int64 [V]."""
    edges: np.ndarray
    """int64 [k], ascending, k <= 6. An item is in the first bucket whose edge is at least its count."""

    @classmethod
    def of(cls, table: pa.Table) -> "ItemCounts":
        """Returns the counts of a whole log from its one table of `sort_counts`."""
        counts = table["count"].to_numpy()
        return cls(one_chunk(table["item_id"]), counts, bucket_edges(counts[counts > 0]))

    @cached_property
    def index(self) -> HashIndex:
        """Of the ids."""
        return HashIndex.of(self.item_ids)

    def bucket(self, item_ids: pa.Array) -> np.ndarray:
        """Returns the bucket of each item, int64 [n].

        Raises:
            ValueError: An id does not occur in the log.
        """
        rows = self.index.lookup(item_ids, self.item_ids)
        if (rows < 0).any():
            raise ValueError(f"{int((rows < 0).sum())} of {len(rows)} items have not been counted")
        return np.searchsorted(self.edges, self.counts[rows])

    def bucket_ranges(self) -> list[tuple[int, int, int]]:
        """Returns (lowest count, highest count, number of items) of each bucket."""
        counts = self.counts[self.counts > 0]
        bucket = np.searchsorted(self.edges, counts)
        members = [counts[bucket == number] for number in range(len(self.edges))]
        return [(int(m.min()), int(m.max()), len(m)) for m in members]


def merge_counts(tables: list[pa.Table]) -> pa.Table:
    """Adds tables of `item_id` and `count` up."""
    merged = pa.concat_tables(tables).group_by("item_id").aggregate([("count", "sum")])
    return merged.rename_columns(["item_id", "count"])


def sort_counts(table: pa.Table) -> pa.Table:
    """Sorts a table of `merge_counts` by item, for `ItemCounts.of`."""
    return table.take(pc.sort_indices(table["item_id"])).combine_chunks()


def read_item_counts(path: str) -> ItemCounts:
    """Reads what `CountItems` wrote."""
    return ItemCounts.of(read_arrow(path).combine_chunks())


@dataclasses.dataclass
class CountItems(beam.PTransform):
    """Tables of `item_id` and `count` -> the path of one file with all counts, or nothing if there is no table."""

    paths: StagingPaths

    def expand(self, input_or_inputs):
        """Applies the sum to a PCollection of tables."""
        return (
            input_or_inputs
            | "Counts as bytes" >> beam.Map(_to_ipc)
            | "Add counts up" >> beam.CombineGlobally(_MergeCounts()).without_defaults()
            | "Write counts" >> beam.Map(self._write)
        )

    def _write(self, counts: bytes) -> str:
        write_atomically(self.paths.item_counts, lambda file: file.write(counts))
        return self.paths.item_counts


class _MergeCounts(beam.CombineFn):
    """Collects tables as Arrow bytes, and adds them up whenever there are many."""

    def create_accumulator(self) -> list[bytes]:
        return []

    def add_input(self, accumulator: list[bytes], element: bytes) -> list[bytes]:
        accumulator.append(element)
        return self.compact(accumulator) if len(accumulator) >= 16 else accumulator

    def merge_accumulators(self, accumulators) -> list[bytes]:
        return self.compact([table for accumulator in accumulators for table in accumulator])

    def compact(self, accumulator: list[bytes]) -> list[bytes]:
        if len(accumulator) <= 1:
            return accumulator
        return [_to_ipc(merge_counts([_from_ipc(data) for data in accumulator]))]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        return _to_ipc(sort_counts(_from_ipc(self.compact(accumulator)[0])))


def _to_ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _from_ipc(data: bytes) -> pa.Table:
    return pa.ipc.open_file(pa.py_buffer(data)).read_all()
