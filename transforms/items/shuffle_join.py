"""Joins items with their vectors if there are too many for one machine: a semi-join over item shards.

1. Each split asks for the items that its users need, once per user shard and item.
2. Each item shard opens its own part of the items, and answers each pair of user shard and item once, even if several
   splits asked.
3. The answers meet the log at the user shard.

The scores are the same to the bit as with all items on every machine (`joined_items`).
"""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton

from ...models.core.item_vectors import PackedItemVectors
from ..contract.columns import InteractionColumns
from ..contract.sharding import Sharding, user_shard
from ..files.local_copy import local_copy
from ..files.run_paths import StagingPaths
from ..shuffle.slices import Shuffle, Slice, collect, ship
from .joined_items import JoinedItems, item_shard, item_shard_directory, open_joined_items

_USER_SHARD, _ITEM = "user_shard", "item_id"


def ask_for_items(
    valid: pa.Table, columns: InteractionColumns, sharding: Sharding, item_shards: int
) -> Iterator[tuple[int, pa.Table]]:
    """Yields (item shard, table of distinct `user_shard` and `item_id`) for what one split needs."""
    encoded = valid[columns.item].combine_chunks().dictionary_encode()
    distinct = len(encoded.dictionary)
    pairs = np.unique(user_shard(valid[columns.user], sharding) * distinct + encoded.indices.to_numpy())
    users, items = pairs // max(distinct, 1), pairs % max(distinct, 1)
    shard = item_shard(encoded.dictionary, item_shards)[items]
    for number in np.unique(shard):
        here = shard == number
        asked = {_USER_SHARD: pa.array(users[here]), _ITEM: encoded.dictionary.take(pa.array(items[here]))}
        yield int(number), pa.table(asked)


def answer(asked: pa.Table, items: JoinedItems) -> Iterator[tuple[int, pa.Table]]:
    """Yields (user shard, the vectors that it asked for), each item once. Items without any vector are left out.

    Args:
        asked: Tables of `ask_for_items` of all splits, one after the other.
        items: The items of this item shard.
    """
    row = items.lookup(asked[_ITEM].combine_chunks())
    users = asked[_USER_SHARD].to_numpy()
    known = max(len(items.item_ids), 1)
    user, row = np.divmod(np.unique(users[row >= 0] * known + row[row >= 0]), known)
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    for start, rows in zip(starts, np.split(row, starts)[1:], strict=True):
        yield int(user[start]), _to_table(items, rows)


def _to_table(items: JoinedItems, rows: np.ndarray) -> pa.Table:
    found = items.take(rows)
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        for name, vectors in (("collaborative", found.collaborative), ("semantic", found.semantic))
    }
    flags = {"has_collaborative": found.has_collaborative, "has_semantic": found.has_semantic}
    return pa.table({_ITEM: items.item_ids.take(pa.array(rows)), **lists, **flags})


def collect_joined_items(answers: Iterable[Slice], item_type: pa.DataType, widths: tuple[int, int]) -> JoinedItems:
    """Returns the items that a user shard asked for, in ascending order of id.

    Args:
        answers: Tables of `answer` from all item shards; none if all items are unknown.
        item_type: Type of the log's item ids, needed if there are no answers.
        widths: Lengths of a packed row and of a semantic vector, needed if there are no answers.
    """
    answers = list(answers)
    if not answers:
        # One item that no log holds, because an unknown item needs a row to point at.
        nobody = pa.array([None], pa.int64() if pa.types.is_integer(item_type) else pa.string())
        flags = np.zeros(1, bool)
        collaborative, semantic = (np.zeros((1, width), np.float32) for width in widths)
        return JoinedItems(
            nobody, pa.nulls(1, pa.large_string()), PackedItemVectors(collaborative, semantic, flags, flags), flags, {}
        )
    table = collect(answers)
    order = pc.sort_indices(table[_ITEM])
    column = {name: table[name].take(order).combine_chunks() for name in table.column_names}
    flags = {name: column[name].to_numpy(zero_copy_only=False) for name in ("has_collaborative", "has_semantic")}
    vectors = {
        name: column[name].flatten().to_numpy().reshape(len(table), -1) for name in ("collaborative", "semantic")
    }
    nothing = pa.nulls(len(table), pa.large_string())
    return JoinedItems(column[_ITEM], nothing, PackedItemVectors(**vectors, **flags), np.zeros(len(table), bool), {})


@dataclasses.dataclass
class FetchVectors(beam.PTransform):
    """(split index, valid table) -> (user shard, slices for `collect_joined_items`), ungrouped."""

    columns: InteractionColumns
    """Names of the log's columns."""
    sharding: Sharding
    """How users are dealt into shards."""
    item_shards: int
    """Number of item shards that the items were written in."""
    shuffle: Shuffle
    """How slices travel."""
    paths: StagingPaths
    """Where slices wait on disk."""
    items_directory: AsSingleton
    """Directory of the items, from `JoinItems`."""

    def expand(self, input_or_inputs):
        """Applies the join to a PCollection of valid tables."""
        asked = input_or_inputs | "Ask for items" >> beam.ParDo(_AskForItems(self)) | beam.GroupByKey()
        return asked | "Answer" >> beam.ParDo(_Answer(self), self.items_directory)


class _AskForItems(beam.DoFn):
    def __init__(self, config: FetchVectors):
        self._config = config

    def process(self, element: tuple[int, pa.Table]) -> Iterator[tuple[int, Slice]]:
        split, valid = element
        config = self._config
        asked = ask_for_items(valid, config.columns, config.sharding, config.item_shards)
        yield from ship(asked, split, config.paths.asked(split), config.shuffle)


class _Answer(beam.DoFn):
    def __init__(self, config: FetchVectors):
        self._config = config

    def process(self, element: tuple[int, Iterable[Slice]], items_directory: str) -> Iterator[tuple[int, Slice]]:
        shard, slices = element
        config = self._config
        # Each item shard is opened by one worker, once. A copy for the whole machine would only fill its disk.
        with local_copy(item_shard_directory(items_directory, shard, config.item_shards)) as local:
            items = open_joined_items(local)
        yield from ship(answer(collect(slices), items), shard, config.paths.vectors(shard), config.shuffle)
