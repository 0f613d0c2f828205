"""Measures the cost of joining items with their vectors: a copy on every machine against a shuffle.

    python -m benchmarks.joins --work DIRECTORY --items 10000 1000000

The log is that of `throughput`, and vectors are drawn at random. The joined items are written beforehand, because both
joins read the same. Reading, grouping, ordering and the join are measured, in CPU seconds of this process.
"""

import argparse
import functools
import os
import shutil
import time

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from iadsr.models.core.item_vectors import PackedItemVectors
from iadsr.pipeline.engines.runner import beam_options, make_runner
from iadsr.transforms.contract.arrow_types import one_chunk
from iadsr.transforms.files.run_paths import RunPaths
from iadsr.transforms.items.joined_items import (
    ITEM_SHARD_BYTES,
    JoinedItems,
    open_joined_items,
    write_in_item_shards,
    write_joined_items,
)
from iadsr.transforms.items.shuffle_join import FetchVectors, collect_joined_items
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.ordering import order_interactions
from iadsr.transforms.read.read_splits import ReadSplits
from iadsr.transforms.shuffle.slices import SliceByUserShard, collect

from .throughput_work import COLUMNS, Paths, prepare

TARGET = 3.0


def make_joined_items(items: int, width: int) -> JoinedItems:
    """Draws the vectors of all items of a log of `throughput`, two of `width` numbers each."""
    ids = np.sort(np.array([f"item-{number}" for number in range(items)]))
    generator = np.random.default_rng(2)
    collaborative, semantic = (generator.random((items, width), np.float32) for _ in range(2))
    every = np.ones(items, bool)
    nothing = pa.nulls(items, pa.large_string())
    return JoinedItems(
        one_chunk(pa.array(ids)), nothing, PackedItemVectors(collaborative, semantic, every, every), ~every, {}
    )


def run(way: str, paths: Paths, directory: str, item_shards: int, width: int) -> float:
    """Runs the pipeline with one way to join, or none, and returns its CPU seconds."""
    shutil.rmtree(paths.output, ignore_errors=True)
    os.makedirs(paths.output)
    plan, options = plan_input(LogSource(paths.log, COLUMNS)), beam_options([])
    sharding = plan.sharding()
    place = RunPaths(paths.output, paths.output, sharding.shards)
    started = time.process_time()
    with beam.Pipeline(make_runner(options), options=options) as pipeline:
        read = pipeline | beam.Create(plan.splits) | ReadSplits(COLUMNS, plan.schema, place)
        grouped = {"rows": read.valid | SliceByUserShard(COLUMNS.user, sharding, "claim-check", place)}
        if way == "shuffle":
            at = AsSingleton(pipeline | "Catalogue" >> beam.Create([directory]))
            fetch = FetchVectors(COLUMNS, sharding, item_shards, "claim-check", place, at)
            grouped["vectors"] = read.valid | fetch
        _ = grouped | beam.CoGroupByKey() | beam.Map(_join, directory if way == "broadcast" else None, width)
    return time.process_time() - started


@functools.cache
def _opened(directory: str) -> JoinedItems:
    """Once for all shards, as in `clean`."""
    return open_joined_items(directory)


def _join(element: tuple[int, dict], directory: str | None, width: int) -> None:
    _, slices = element
    table = collect(slices["rows"])
    ordered = order_interactions(table, COLUMNS)
    if directory is not None:
        joined_items = _opened(directory)
    elif "vectors" in slices:
        joined_items = collect_joined_items(slices["vectors"], table[COLUMNS.item].type, (width, width))
    else:
        return
    joined_items.take(joined_items.lookup(ordered.item_ids))


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joins", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", required=True, help="directory for logs and joined items")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--width", type=int, default=128, help="numbers in each of an item's two vectors")
    parser.add_argument("--repeat", type=int, default=3, help="measure in turn so often; the least counts")
    options = parser.parse_args()
    print(f"| items | no join | broadcast | shuffle | shuffle against broadcast, at most {TARGET:g} |")
    print("| --- | --- | --- | --- | --- |")
    for items in options.items:
        paths = Paths(options.work, options.rows, items)
        prepare(paths, scores=False)
        directory = os.path.join(options.work, f"joined-items-{items}")
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        joined_items = make_joined_items(items, options.width)
        item_shards = -(-8 * options.width * items // ITEM_SHARD_BYTES)
        write_in_item_shards(joined_items, directory, item_shards)
        write_joined_items(joined_items, directory)
        del joined_items
        ways = ("none", "broadcast", "shuffle")
        _opened.cache_clear()
        runs = [
            {way: run(way, paths, directory, item_shards, options.width) for way in ways} for _ in range(options.repeat)
        ]
        none, broadcast, shuffle = (min(seconds[way] for seconds in runs) for way in ways)
        print(f"| {items:,} | {none:.1f} s | {broadcast:.1f} s | {shuffle:.1f} s | {shuffle / broadcast:.1f} |")
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
