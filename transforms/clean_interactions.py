"""Cleans interactions in somebody else's Beam pipeline, or one table of them in memory."""

import dataclasses
import hashlib
import os
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsList, AsSingleton, PCollection, TaggedOutput
from apache_beam.typehints.arrow_type_compatibility import PyarrowBatchConverter
from apache_beam.typehints.row_type import RowTypeConstraint

from ..models.core.errors import InputError
from ..models.core.file_urls import to_path
from .contract import table_coder  # noqa: F401 (registers the coder of tables)
from .contract.added_columns import AddedColumns
from .contract.columns import ROW, TIME, InteractionColumns
from .contract.hashing import hash_rows
from .contract.schemas import check_file_schema, refuse_taken_names
from .contract.sharding import Sharding
from .files.found_files import find_files
from .files.run_paths import StagingPaths
from .files.storage import is_local, join, make_directory
from .items.item_counts import CountItems, ItemCounts, sort_counts
from .items.joined_items import Join, JoinedItems
from .judge.artifacts import COLLABORATIVE, check_embeddings, read_model_facts
from .judge.drop_plan import DropPlan, plan_drops
from .judge.judge_shard import judge_shard
from .judge.policy import Policy
from .judge.score_log import ScoreLog
from .judge.score_shards import score_shard
from .judge.scored_shard import StagedShard, read_staged_shard
from .judge.tally import tally_shard
from .read.behaviours import check_behaviours, count_behaviours
from .read.clock import Clock, TimeFacts, merge_facts, time_facts
from .read.input_plan import MIN_SHARDS
from .read.ordering import order_interactions
from .read.read_splits import conform
from .read.time_checks import refuse_wrong_order
from .read.validation import Validated, validate
from .rules.rule_log import RuleLog, count_open_items, rule_whole_log
from .rules.rule_options import RuleOptions
from .rules.rule_set import RuleSet, check_rule_columns, make_rules
from .rules.rules_file import read_rules_file
from .run.run_store import discard_other_work
from .shuffle.slices import Shuffle, SliceByUserShard
from .write.shards import cleaned_interactions

if TYPE_CHECKING:
    from ..models.detector.iadsr import IADSR

_INPUT = "The input of CleanInteractions"
"""Stands in messages for the path of a file."""
_ROWS_PER_TABLE = 10_000
"""Beam Rows are made into tables of at most so many rows."""


class CleanedInteractions(NamedTuple):
    """What `CleanInteractions` gives, both PCollections of Arrow tables."""

    interactions: PCollection
    """All valid interactions with their columns and the added ones (`ADDED_FIELDS`), one table for each user shard.
    Users are in ascending order of id, and a user's interactions in time order. To get the cleaned log, keep the rows
    whose `keep` is true."""
    rejected: PCollection
    """Rows that could not be used, with the reason (`REJECTED_SCHEMA`). `file` is empty, and `row_number` counts within
    the table that the row came in."""


class CleanedTable(NamedTuple):
    """What `clean_table` gives."""

    interactions: pa.Table
    """All valid interactions with their columns and the added ones (`ADDED_FIELDS`)."""
    rejected: pa.Table
    """Rows that could not be used, with the reason (`REJECTED_SCHEMA`)."""


def clean_table(
    table: pa.Table,
    model: "IADSR",
    joined_items: JoinedItems,
    noise_reference: np.ndarray,
    columns: InteractionColumns,
    policy: Policy,
    rules: RuleOptions | None = None,
    added: AddedColumns | None = None,
    hold_out: int = 0,
) -> CleanedTable:
    """Cleans a whole log that fits into memory.

    The decisions are those of `CleanInteractions`, and of `iadsr clean` unless it was given a log so large that it
    chose more than MIN_SHARDS shards. Then the last bits of scores may differ.

    Args:
        table: The log.
        model: The detector.
        joined_items: Items and their vectors.
        noise_reference: What inserted noise scores, as the model directory has it.
        columns: Names of the log's columns.
        policy: What is dropped as noise, and what is protected.
        rules: What is dropped without a model. None: the defaults.
        added: Names of the columns that are added; None: those of `ADDED_FIELDS`.
        hold_out: The last interactions of each user that are set aside to test recommenders.

    Raises:
        InputError: A column is missing, doubled or of an unusable type, or has the name of an added one. Or the times
            give no order, the column of behaviours does not hold any, or a rule cannot be applied.
        ArtifactError: Item ids in the log and in the joined items have different types.
    """
    added, split = added or AddedColumns(), hold_out > 0
    valid, rejected = _prepare(table, columns, _plain_schema(table.schema, columns, added, split=split))
    if not len(valid):
        raise InputError(
            "No row of the table could be used",
            code="TABLE-NONE",
            found=f"{len(table):,} rows, all of them rejected",
            fix="check that the right columns are named; `validate` in `iadsr.transforms.read` says why",
        )
    rule_set = _make_rules(rules, columns, valid.schema)
    clock = _check_log([_facts_of(valid, columns)], rule_set, columns)
    ruled = rule_whole_log(order_interactions(valid, columns), rule_set, columns, clock, hold_out)
    item_counts = ItemCounts.of(sort_counts(count_open_items(ruled)))
    scored = score_shard(0, ruled, columns, joined_items, model, MIN_SHARDS)
    plan = plan_drops(tally_shard(scored, columns, item_counts), policy, noise_reference)
    judged = judge_shard(scored, plan, policy, rule_set.codes)
    return CleanedTable(cleaned_interactions(judged, added.written(scored=True, split=split)), rejected)


@dataclasses.dataclass
class CleanInteractions(beam.PTransform):
    """PCollection of interactions -> CleanedInteractions, in a pipeline of your own.

    The input comes from any source, as Arrow tables of any size or as Beam Rows (also as NamedTuples that are
    registered with a schema). Nothing but the staging directory is written. The steps are those of `iadsr clean`.

    The order of the input plays no part. Interactions of one user with the same time are ordered by the position
    column if there is one, else by item id. If they still tie, a hash of the whole row decides, so the result does not
    depend on how the rows arrive. `iadsr clean` lets the order of the input decide there. For logs in which no two
    rows of a user share both time and item, the decisions are the same.

    Example:
        Drop the noise from a log in Parquet files::

            import apache_beam as beam
            import pyarrow as pa
            import pyarrow.parquet as pq
            from iadsr.transforms import CleanInteractions

            with beam.Pipeline(options=options) as pipeline:
                tables = (
                    pipeline
                    | beam.Create(["log/a.parquet", "log/b.parquet"])
                    | "Read" >> beam.Map(pq.read_table).with_output_types(pa.Table)
                )
                cleaned = tables | CleanInteractions(
                    "model", "embeddings", staging="staging", schema=pq.read_schema("log/a.parquet")
                )
                kept = cleaned.interactions | beam.FlatMap(lambda table: table.filter(table["keep"]).to_pylist())
                _ = kept | beam.Map(print)

    Raises:
        IadsrError: When it is applied: model and embeddings do not fit one another, or the columns are not as they
            must be. While the pipeline runs: a table does not have the schema.
    """

    model: str
    """Model directory, as `iadsr train` writes it."""
    embeddings: str
    """Item embeddings, as `iadsr embed` writes them."""
    staging: str
    """Directory that all workers see. It serves one pipeline at a time, and can be deleted when that has ended."""
    schema: pa.Schema | None = None
    """The schema of the tables. Beam Rows bring their own."""
    columns: InteractionColumns = dataclasses.field(default_factory=InteractionColumns)
    """Names of the log's columns."""
    policy: Policy = dataclasses.field(default_factory=Policy)
    """What is dropped as noise, and what is protected."""
    rules: RuleOptions | None = None
    """What is dropped without a model. None: the defaults."""
    added: AddedColumns = dataclasses.field(default_factory=AddedColumns)
    """Names of the columns that are added."""
    hold_out: int = 0
    """The last interactions of each user that are set aside to test recommenders, see `--hold-out` of `iadsr clean`."""
    shards: int = MIN_SHARDS
    """Groups of users, each of which one worker holds in memory. A shard of half a million rows is a good size. Any
    number up to the default gives the same bits of every score."""
    shuffle: Shuffle | None = None
    """How slices travel; None: claim-check if the staging directory is on this machine, else bytes."""
    join: Join | None = None
    """How items meet their vectors; None: by a shuffle if these are too large to be copied to every machine."""

    def __post_init__(self):
        """Turns file:// URLs into paths, and relative paths into full ones: workers may start in other directories."""
        paths = (to_path(path) for path in (self.model, self.embeddings, self.staging))
        self.model, self.embeddings, self.staging = (os.path.abspath(p) if is_local(p) else p for p in paths)

    def expand(self, input_or_inputs):
        """Applies all steps to a PCollection of tables or rows."""
        tables, schema = _as_tables(input_or_inputs, self.schema)
        schema = _plain_schema(schema, self.columns, self.added, split=self.hold_out > 0)
        model = read_model_facts(self.model)
        check_embeddings(self.embeddings, model, schema.field(self.columns.item).type)
        # A folder of its own, so that a pipeline does not meet what another one has left. The same pipeline may run
        # again, as templates do.
        paths = StagingPaths(join(self.staging, f"clean-{secrets.token_hex(8)}"))
        rules = _make_rules(self.rules, self.columns, schema)
        sharding = Sharding(self.shards, max(self.shards, MIN_SHARDS))
        shuffle = self.shuffle or ("claim-check" if is_local(self.staging) else "bytes")
        prepare = beam.ParDo(_Prepare(self.columns, schema, self.staging)).with_output_types(tuple[int, pa.Table])
        prepared = tables | "Validate" >> prepare.with_outputs("rejected", "facts", main="valid")
        check = _CheckLog(rules, self.columns, paths, self.model, self.embeddings)
        start = input_or_inputs.pipeline | beam.Impulse()
        clock = start | "Check the log" >> beam.ParDo(check, AsList(prepared.facts))
        ruled = (
            prepared.valid
            | "Slice" >> SliceByUserShard(self.columns.user, sharding, shuffle, paths)
            | "Group by user shard" >> beam.GroupByKey()
            | "Rules" >> RuleLog(self.columns, rules, paths, clock, self.hold_out)
        )
        scored = prepared.valid | "Score" >> ScoreLog(
            self.columns,
            self.policy,
            self.model,
            self.embeddings,
            model.noise_reference,
            sharding,
            shuffle,
            self.join,
            paths,
            ruled,
            ruled.item_counts | "Popularity" >> CountItems(paths),
        )
        added = self.added.written(scored=True, split=self.hold_out > 0)
        judge = beam.ParDo(_Judge(self.policy, rules.codes, added, paths), AsSingleton(scored.plan, None))
        return CleanedInteractions(scored.shards | "Judge" >> judge, prepared.rejected)


def _make_rules(options: RuleOptions | None, columns: InteractionColumns, schema: pa.Schema) -> RuleSet:
    options = read_rules_file(options or RuleOptions())
    check_rule_columns(options, schema, columns)
    return make_rules(options, columns.item, schema.field(columns.item).type)


class _TableFacts(NamedTuple):
    """What a table tells of the log that it is a part of."""

    times: TimeFacts
    behaviours: dict[str, int]
    """Rows of each behaviour."""
    rows: int
    """Number of rows."""
    checksum: int
    """Sum of the hashes of all rows, which does not depend on their order."""


def _facts_of(table: pa.Table, columns: InteractionColumns) -> _TableFacts:
    checksum = int(table[ROW].to_numpy().view(np.uint64).sum())
    return _TableFacts(time_facts(table, columns), count_behaviours(table, columns), len(table), checksum)


def _check_log(facts: list[_TableFacts], rules: RuleSet, columns: InteractionColumns) -> Clock:
    """Checks what only all tables together show. Returns what the log's times mean."""
    clock = Clock.of(merge_facts(part.times for part in facts))
    refuse_wrong_order(clock, columns)
    check_behaviours([part.behaviours for part in facts], columns)
    rules.check_clock(clock)
    return clock


def _as_tables(collection: PCollection, schema: pa.Schema | None) -> tuple[Any, pa.Schema]:
    """Returns interactions as Arrow tables, and their schema."""
    element_type = collection.element_type
    row_type = element_type if isinstance(element_type, RowTypeConstraint) else None
    if row_type is None and isinstance(element_type, type):
        row_type = RowTypeConstraint.from_user_type(element_type)
    if row_type is not None:
        converter = PyarrowBatchConverter(row_type)
        tables = (
            collection
            | "Batch rows" >> beam.BatchElements(max_batch_size=_ROWS_PER_TABLE)
            | "Make tables" >> beam.Map(converter.produce_batch).with_output_types(pa.Table)
        )
        return tables, converter.produce_batch([]).schema
    if schema is None:
        raise InputError(
            f"{_INPUT} has no schema",
            code="TABLE-NOSCHEMA",
            found=f"a PCollection of {element_type}",
            expected="Arrow tables with the argument `schema`, or Beam Rows",
            fix="pass the schema of the tables, or give the rows a type with `with_output_types`",
        )
    return collection, schema


def _plain_schema(schema: pa.Schema, columns: InteractionColumns, added: AddedColumns, *, split: bool) -> pa.Schema:
    """Checks a schema against the contract; returns it with the types in which rows are carried."""
    refuse_taken_names(schema.names, added, _INPUT, scored=True, split=split)
    return pa.schema([field.with_nullable(True) for field in check_file_schema(schema, columns, _INPUT)])


def _prepare(table: pa.Table, columns: InteractionColumns, schema: pa.Schema) -> Validated:
    """Validates a table. Instead of a number, each valid row gets the hash of its content."""
    try:
        if sorted(filter(columns.reads, table.column_names)) != sorted(schema.names):
            raise ValueError(f"columns {', '.join(table.column_names)}")
        conformed = [conform(table[field.name], field.name, field.type, columns) for field in schema]
        table = pa.table(conformed, names=schema.names)
    except (ValueError, pa.ArrowException) as error:
        # Not the whole message of Arrow, which quotes the value: it may be a user's id.
        found = str(error) if not isinstance(error, pa.ArrowException) else ", ".join(map(str, table.schema))
        raise InputError(
            f"{_INPUT} holds a table that does not have the schema",
            code="TABLE-SCHEMA",
            found=found,
            expected=", ".join(map(str, schema)),
            fix="give all tables the columns and types of the schema",
        ) from error
    valid, rejected = validate(table, columns, "")
    content = valid.drop_columns([name for name in (ROW, TIME) if name in valid.column_names])
    number = pa.array(hash_rows(content).view(np.int64))
    return Validated(valid.set_column(valid.column_names.index(ROW), ROW, number), rejected)


class _Prepare(beam.DoFn):
    def __init__(self, columns: InteractionColumns, schema: pa.Schema, staging: str):
        self._columns, self._schema, self._staging = columns, schema, staging

    def setup(self):
        make_directory(self._staging)

    def process(self, table: pa.Table) -> Iterator:
        valid, rejected = _prepare(table, self._columns, self._schema)
        if len(rejected):
            yield TaggedOutput("rejected", rejected)
        if len(valid):
            # Tables of the same rows have the same number and write the same slices to the same file.
            yield TaggedOutput("facts", _facts_of(valid, self._columns))
            number = hashlib.sha256(valid[ROW].to_numpy().tobytes()).digest()[:7]
            yield int.from_bytes(number), valid


class _CheckLog(beam.DoFn):
    """Also deletes shards of an earlier run of the same pipeline that had other rows or another model."""

    def __init__(self, rules: RuleSet, columns: InteractionColumns, paths: StagingPaths, model: str, embeddings: str):
        self._rules, self._columns, self._paths = rules, columns, paths
        self._model, self._embeddings = model, embeddings

    def process(self, element: bytes, facts: list[_TableFacts]) -> Iterator[Clock]:
        clock = _check_log(facts, self._rules, self._columns)
        vectors = (self._embeddings, join(self._model, COLLABORATIVE))
        work = (
            sum(part.rows for part in facts),
            sum(part.checksum for part in facts) % 2**64,
            read_model_facts(self._model).fingerprint,
            [file for path in vectors for file in find_files(path).files],
        )
        make_directory(self._paths.staging)
        discard_other_work(self._paths.staging, hashlib.sha256(repr(work).encode()).digest())
        yield clock


class _Judge(beam.DoFn):
    def __init__(self, policy: Policy, codes: tuple[str, ...], added: dict[str, str], paths: StagingPaths):
        self._policy, self._codes, self._added, self._paths = policy, codes, added, paths

    def process(self, staged: StagedShard, plan: DropPlan) -> Iterator[pa.Table]:
        scored = read_staged_shard(self._paths.scored(staged.shard), staged)
        yield cleaned_interactions(judge_shard(scored, plan, self._policy, self._codes), self._added)
