"""The pieces of work that `throughput` measures: ours and those of others, each as short as possible."""

import dataclasses
import os
import sys
import time
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iadsr.transforms.contract.columns import InteractionColumns

COLUMNS = InteractionColumns()
ROW_GROUP = 250_000
SAMPLE_USERS = 2_000
"""The model is trained on so many users for one epoch. The speed of a model does not depend on what it has learnt."""
MAX_LENGTH = 10_000
DIMENSION = 384
PER_ITEM_USERS = 200


@dataclasses.dataclass(frozen=True)
class Paths:
    """The paths of a measurement, and the size of its log."""

    work: str
    rows: int
    items: int
    skewed: bool = False

    def _at(self, name: str) -> str:
        return os.path.join(self.work, name)

    @property
    def log(self) -> str:
        """The log, one file."""
        return self._at(f"log-{self.rows}-{self.items}{'-skewed' * self.skewed}.parquet")

    @property
    def embeddings(self) -> str:
        """Text embeddings, drawn at random."""
        return self._at(f"embeddings-{self.items}")

    @property
    def model(self) -> str:
        """The model."""
        return self._at(f"model-{self.items}")

    @property
    def output(self) -> str:
        """Where the work in progress writes."""
        return self._at("output")


def prepare(paths: Paths, *, scores: bool = True) -> None:
    """Makes the log if it is missing. If it is to be scored (`scores`), makes the embeddings and the model too."""
    os.makedirs(paths.work, exist_ok=True)
    if not os.path.exists(paths.log):
        pq.write_table(synthetic_log(paths.rows, paths.items, skewed=paths.skewed), paths.log, row_group_size=ROW_GROUP)
    if not scores:
        return
    if not os.path.exists(paths.embeddings):
        _write_embeddings(paths)
    if not os.path.exists(paths.model):
        _write_model(paths)


def synthetic_log(rows: int, items: int, seed: int = 0, *, skewed: bool = False) -> pa.Table:
    """Draws a log. Item popularity and the lengths of users follow power laws, and rows are in order of time.

    A skewed log has one user with a tenth of all interactions, and one item in half of them.

    Returns:
        `user_id`, `item_id`, `timestamp`; a tenth as many users as rows, of 1 to MAX_LENGTH interactions.
    """
    generator = np.random.default_rng(seed)
    users = max(rows // 10, 1)
    share = np.minimum(generator.pareto(1.2, users) + 0.3, MAX_LENGTH / 4)
    lengths = np.clip(np.round(share * rows / share.sum()), 1, MAX_LENGTH).astype(np.int64)
    user = generator.permutation(np.repeat(np.arange(users), lengths))
    user = np.resize(user, rows)
    popularity = 1 / np.arange(1, items + 1)
    item = np.searchsorted(np.cumsum(popularity / popularity.sum()), generator.random(rows)).clip(max=items - 1)
    if skewed:
        user[generator.random(rows) < 0.1] = 0
        item[generator.random(rows) < 0.5] = 0
    return pa.table(
        {
            "user_id": pc.binary_join_element_wise("user", pa.array(user).cast(pa.string()), "-"),
            "item_id": pc.binary_join_element_wise("item", pa.array(item).cast(pa.string()), "-"),
            "timestamp": pa.array(np.sort(generator.integers(1_600_000_000, 1_700_000_000, rows))),
        }
    )


def _write_embeddings(paths: Paths) -> None:
    from iadsr.transforms.items.embedding_files import write_embeddings
    from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable

    vectors = np.random.default_rng(1).normal(size=(paths.items, DIMENSION)).astype(np.float32)
    ids = [f"item-{number}" for number in range(paths.items)]
    table = EmbeddingTable(
        item_ids=pa.array(ids),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        present=np.ones(paths.items, bool),
        texts=pa.array(ids, pa.large_string()),
        metadata=EmbeddingMetadata("semantic", "random", "1", "mean", DIMENSION, ("title",)),
    )
    write_embeddings(table, paths.embeddings)


def _write_model(paths: Paths) -> None:
    from iadsr.models.detector.model_config import IADSRConfig
    from iadsr.models.training.train_model import train_model
    from iadsr.models.training.training_config import TrainingConfig
    from iadsr.pipeline.commands.train import write_model
    from iadsr.transforms.items.embedding_files import read_embeddings
    from iadsr.transforms.items.embedding_table import align, fingerprint
    from iadsr.transforms.read.input_plan import plan_input
    from iadsr.transforms.read.log_source import LogSource
    from iadsr.transforms.read.read_log import read_log

    source = LogSource(paths.log, COLUMNS)
    log, _, _ = read_log(source, plan_input(source))
    sample, _ = log.sequences(COLUMNS).take(np.arange(min(SAMPLE_USERS, len(log.offsets) - 1)))
    embeddings = read_embeddings(paths.embeddings)
    semantic, has_semantic = align(embeddings, log.item_ids)
    once = TrainingConfig(collaborative_epochs=1, alignment_epochs=1, context_epochs=1, head_epochs=1)
    result = train_model(sample, semantic, has_semantic, IADSRConfig(), once)
    result.model.provenance = {
        "embeddings": embeddings.metadata.to_dict(),
        "embeddings_fingerprint": fingerprint(embeddings),
    }
    write_model(paths.model, result, log.item_ids)


def clean_with_beam(paths: Paths) -> None:
    """Runs `iadsr clean` with its defaults."""
    from iadsr.pipeline.cli.app import main

    inputs = ["--interactions", paths.log, "--embeddings", paths.embeddings, "--model", paths.model]
    sys.argv = ["iadsr", "clean", *inputs, "--output", paths.output]
    main()


def clean_in_a_loop(paths: Paths) -> None:
    """Does what `iadsr clean` does with the same functions, one after the other. There is no report and no manifest."""
    import torch

    from iadsr.models.detector.iadsr import IADSR
    from iadsr.transforms.contract.added_columns import AddedColumns
    from iadsr.transforms.files.run_paths import RunPaths
    from iadsr.transforms.files.tables import write_arrow
    from iadsr.transforms.items.embedding_files import read_embeddings
    from iadsr.transforms.items.item_counts import ItemCounts, merge_counts, sort_counts
    from iadsr.transforms.items.joined_items import join_embedding_tables, open_joined_items, write_joined_items
    from iadsr.transforms.judge.artifacts import COLLABORATIVE, read_model_facts
    from iadsr.transforms.judge.drop_plan import plan_drops
    from iadsr.transforms.judge.judge_shard import judge_shard
    from iadsr.transforms.judge.policy import Policy
    from iadsr.transforms.judge.score_shards import score_shard
    from iadsr.transforms.judge.scored_shard import StagedShard, read_staged_shard, stage_shard
    from iadsr.transforms.judge.tally import merge_tallies, tally_shard
    from iadsr.transforms.read.clock import Clock, merge_facts, time_facts
    from iadsr.transforms.read.input_plan import plan_input
    from iadsr.transforms.read.log_source import LogSource
    from iadsr.transforms.read.ordering import order_interactions
    from iadsr.transforms.read.read_splits import read_split
    from iadsr.transforms.rules.rule_log import count_open_items, learn, read_ruled_shard, rule_shard
    from iadsr.transforms.rules.rule_options import RuleOptions
    from iadsr.transforms.rules.rule_set import make_rules
    from iadsr.transforms.rules.ruled_shard import long_lists, ruled_shard_to_table
    from iadsr.transforms.write.shards import write_shard
    from iadsr.transforms.write.users import describe_users

    torch.set_num_threads(1)
    plan, facts = plan_input(LogSource(paths.log, COLUMNS)), read_model_facts(paths.model)
    sharding = plan.sharding()
    place = RunPaths(os.path.join(paths.output, "staging"), paths.output, sharding.shards)
    os.makedirs(place.staging)
    collaborative = read_embeddings(os.path.join(paths.model, COLLABORATIVE), kind="collaborative")
    write_joined_items(
        join_embedding_tables(read_embeddings(paths.embeddings), collaborative), place.joined_items(None)
    )
    shards, times = _Shards(place.staging, sharding), []
    for split in plan.splits:
        valid, _ = read_split(split, COLUMNS, plan.schema)
        times.append(time_facts(valid, COLUMNS))
        shards.add(valid)

    clock = Clock.of(merge_facts(times))
    rules = make_rules(RuleOptions(), COLUMNS.item, plan.schema.field(COLUMNS.item).type)
    counted, lists = [], {}
    for shard, table in shards.tables():
        ruled = rule_shard(order_interactions(table, COLUMNS), rules, COLUMNS, clock)
        write_arrow(place.ruled(shard), ruled_shard_to_table(ruled).combine_chunks())
        counted.append(count_open_items(ruled))
        lists[shard] = long_lists(ruled, COLUMNS, clock)
    item_counts = ItemCounts.of(sort_counts(merge_counts(counted)))
    readers = [partial(read_ruled_shard, place, shard) for shard in lists]
    log_rules = learn(readers, list(lists.values()), rules, COLUMNS, clock)

    model, joined_items = IADSR.from_pretrained(paths.model), open_joined_items(place.joined_items(None))
    tallies, staged = [], []
    for shard, read in zip(lists, readers, strict=True):
        scored = score_shard(shard, log_rules.applied(read(), COLUMNS), COLUMNS, joined_items, model, sharding.cells)
        stage_shard(place.scored(shard), scored)
        tallies.append(tally_shard(scored, COLUMNS, item_counts))
        staged.append(StagedShard(shard, scored.seconds))
    policy = Policy()
    drops = plan_drops(merge_tallies(tallies), policy, facts.noise_reference)
    for shard in staged:
        scored = read_staged_shard(place.scored(shard.shard), shard)
        judged = judge_shard(scored, drops, policy, rules.codes)
        users = describe_users(judged, COLUMNS, log_rules)
        write_shard(judged, users, COLUMNS, AddedColumns().written(scored=True), place)


class _Shards:
    """Rows dealt into one Arrow file per shard."""

    def __init__(self, directory: str, sharding: Any):
        self._directory, self._sharding = directory, sharding
        self._writers: dict[int, Any] = {}

    def add(self, table: pa.Table) -> None:
        """Appends each row to its shard."""
        from iadsr.transforms.contract.sharding import split_by_shard

        for shard, part in split_by_shard(table, COLUMNS.user, self._sharding):
            if shard not in self._writers:
                self._writers[shard] = pa.ipc.new_file(self._path(shard), part.schema)
            self._writers[shard].write_table(part)

    def tables(self):
        """Yields each shard with its rows."""
        for shard, writer in sorted(self._writers.items()):
            writer.close()
            with pa.memory_map(self._path(shard)) as file:
                yield shard, pa.ipc.open_file(file).read_all()

    def _path(self, shard: int) -> str:
        return os.path.join(self._directory, f"rows-{shard}.arrow")


def sequences_with_beam(paths: Paths) -> None:
    """Runs the steps of `iadsr clean` up to ordered sequences, and writes them."""
    import apache_beam as beam

    from iadsr.pipeline.engines.runner import beam_options, make_runner
    from iadsr.transforms.files.run_paths import RunPaths
    from iadsr.transforms.read.input_plan import plan_input
    from iadsr.transforms.read.log_source import LogSource
    from iadsr.transforms.read.read_splits import ReadSplits
    from iadsr.transforms.shuffle.slices import SliceByUserShard

    plan, options = plan_input(LogSource(paths.log, COLUMNS)), beam_options([])
    sharding = plan.sharding()
    place = RunPaths(paths.output, paths.output, sharding.shards)
    with beam.Pipeline(make_runner(options), options=options) as pipeline:
        read = pipeline | beam.Create(plan.splits) | ReadSplits(COLUMNS, plan.schema, place)
        slices = read.valid | SliceByUserShard(COLUMNS.user, sharding, "claim-check", place)
        _ = slices | beam.GroupByKey() | beam.Map(_write_ordered, paths.output)


def _write_ordered(element: tuple[int, Any], directory: str) -> None:
    from iadsr.transforms.files.tables import write_table
    from iadsr.transforms.read.ordering import order_interactions
    from iadsr.transforms.shuffle.slices import collect

    shard, slices = element
    ordered = order_interactions(collect(slices), COLUMNS)
    write_table(
        os.path.join(directory, f"part-{shard}.parquet"),
        _sequences(ordered.table, ordered.offsets),
        varied=(COLUMNS.user, COLUMNS.timestamp),
    )


def _sequences(table: pa.Table, offsets: np.ndarray) -> pa.Table:
    lists = {
        name: pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), table[name].combine_chunks())
        for name in (COLUMNS.item, COLUMNS.timestamp)
    }
    return pa.table({COLUMNS.user: table[COLUMNS.user].take(offsets[:-1]), **lists})


def sequences_in_a_loop(paths: Paths) -> None:
    """Does the same with the same functions, one after the other. It does not check the rows."""
    from iadsr.transforms.files.tables import write_table
    from iadsr.transforms.read.input_plan import plan_input
    from iadsr.transforms.read.log_source import LogSource
    from iadsr.transforms.read.ordering import order_interactions

    os.makedirs(paths.output)
    shards = _Shards(paths.output, plan_input(LogSource(paths.log, COLUMNS)).sharding())
    file = pq.ParquetFile(paths.log)
    for group in range(file.num_row_groups):
        shards.add(file.read_row_group(group, use_threads=False))
    for shard, table in shards.tables():
        ordered = order_interactions(table, COLUMNS)
        write_table(
            os.path.join(paths.output, f"part-{shard}.parquet"),
            _sequences(ordered.table, ordered.offsets),
            varied=(COLUMNS.user, COLUMNS.timestamp),
        )


def sequences_in_polars(paths: Paths) -> None:
    """Groups and orders with Polars."""
    import polars

    os.makedirs(paths.output)
    log = polars.scan_parquet(paths.log).sort(COLUMNS.user, COLUMNS.timestamp, COLUMNS.item)
    sequences = log.group_by(COLUMNS.user, maintain_order=True).agg(COLUMNS.item, COLUMNS.timestamp)
    sequences.collect().write_parquet(os.path.join(paths.output, "sequences.parquet"))


def sequences_in_duckdb(paths: Paths) -> None:
    """Groups and orders with DuckDB."""
    import duckdb

    os.makedirs(paths.output)
    connection = duckdb.connect(config={"threads": 1})
    order = f"order by {COLUMNS.timestamp}, {COLUMNS.item}"
    connection.execute(
        f"copy (select {COLUMNS.user}, list({COLUMNS.item} {order}) as {COLUMNS.item}, "
        f"list({COLUMNS.timestamp} {order}) as {COLUMNS.timestamp} "
        f"from '{paths.log}' group by {COLUMNS.user} order by {COLUMNS.user}) "
        f"to '{os.path.join(paths.output, 'sequences.parquet')}' (format parquet)"
    )


def score(paths: Paths) -> dict[str, float]:
    """Scores a shard's worth of sequences, in memory."""
    return _score_shard(paths, *_in_memory(paths))


def score_as_in_the_paper(paths: Paths) -> dict[str, float]:
    """Scores the same sequences by the sum of the paper's three similarities. All else is as in `score`."""
    from iadsr.models.detector.iadsr import IADSR

    model, sequences, vectors = _in_memory(paths)
    papers = IADSR(dataclasses.replace(model.config, head="paper"))
    papers.load_state_dict(model.state_dict())
    vectors = dataclasses.replace(vectors, collaborative=np.ascontiguousarray(vectors.collaborative))
    return _score_shard(paths, papers, sequences, vectors)


def _score_shard(paths: Paths, model, sequences, vectors) -> dict[str, float]:
    from iadsr.models.detector.scoring import score_sequences
    from iadsr.transforms.read.input_plan import SHARD_ROWS

    users = np.searchsorted(sequences.offsets, min(SHARD_ROWS, paths.rows), side="right") - 1
    sequences, _ = sequences.take(np.arange(max(users, 1)))
    started = time.process_time()
    score_sequences(model, sequences, vectors)
    return {"rows": len(sequences.items), "seconds": time.process_time() - started}


def score_per_item(paths: Paths) -> dict[str, float]:
    """Scores some users one at a time, the similarities position by position, with the backbone alone.

    The published code does the same. It has neither our agreement features nor our head.
    """
    import torch
    from torch.nn import functional as F

    from iadsr.models.detector.backbones import read_items
    from iadsr.models.detector.item_tensors import ItemTensors

    model, sequences, vectors = _in_memory(paths)
    tensors = ItemTensors.select(model, vectors, np.arange(len(vectors.semantic)))
    rows, started = 0, time.process_time()
    with torch.inference_mode():
        for start, stop in list(pairwise(sequences.offsets))[:PER_ITEM_USERS]:
            items = torch.from_numpy(sequences.items[start:stop].astype(np.int64))
            real = torch.ones(1, len(items), dtype=torch.bool)
            collaborative = model.backbone(read_items(tensors.collaborative[items])[None], real)[0]
            user_collaborative = collaborative.amax(0)
            user_semantic = model.long_semantic(tensors.semantic[items].mean(0))
            for position, item in enumerate(items):
                semantic = model.short_semantic(tensors.semantic[item])
                logit = F.cosine_similarity(user_semantic, collaborative[position], dim=0)
                logit = logit + F.cosine_similarity(user_collaborative, semantic, dim=0)
                torch.sigmoid(-logit - F.cosine_similarity(collaborative[position], semantic, dim=0))
            rows += len(items)
    return {"rows": rows, "seconds": time.process_time() - started}


def _in_memory(paths: Paths):
    import torch

    from iadsr.models.detector.iadsr import IADSR
    from iadsr.transforms.items.embedding_files import read_embeddings
    from iadsr.transforms.items.joined_items import join_embedding_tables
    from iadsr.transforms.judge.artifacts import COLLABORATIVE
    from iadsr.transforms.read.input_plan import plan_input
    from iadsr.transforms.read.log_source import LogSource
    from iadsr.transforms.read.read_log import read_log

    torch.set_num_threads(1)
    collaborative = read_embeddings(os.path.join(paths.model, COLLABORATIVE), kind="collaborative")
    joined_items = join_embedding_tables(read_embeddings(paths.embeddings), collaborative)
    source = LogSource(paths.log, COLUMNS)
    log, _, _ = read_log(source, plan_input(source))
    model, packed = IADSR.from_pretrained(paths.model), joined_items.take(joined_items.lookup(log.item_ids))
    return model, log.sequences(COLUMNS), packed.unpack(model.config.collaborative_dimension)
