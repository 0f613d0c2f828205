"""`CleanInteractions` in a pipeline of one's own: what it decides is what `iadsr clean` decides."""

import pickle
import shutil
import textwrap
from collections import Counter
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from iadsr.models.core.errors import InputError
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_files import read_noise_reference
from iadsr.pipeline import clean
from iadsr.transforms import CleanInteractions, clean_table
from iadsr.transforms.contract.added_columns import AddedColumns
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.embedding_files import read_embeddings
from iadsr.transforms.items.joined_items import join_embedding_tables
from iadsr.transforms.judge.artifacts import COLLABORATIVE
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.rules.rule_options import RuleOptions

KEY = [(name, "ascending") for name in ("user_id", "timestamp", "item_id", "rating")]
POLICY = Policy(drop_rate=0.1, min_length=3)


@pytest.fixture(scope="module")
def cleaned(world, tmp_path_factory) -> pa.Table:
    """What `clean` makes of the world's log."""
    output = str(tmp_path_factory.mktemp("cleaned") / "out")
    paths = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    clean(**paths, output=output, drop_rate=POLICY.drop_rate, min_length=POLICY.min_length)
    return pq.read_table(f"{output}/interactions").sort_by(KEY)


def run(world, tmp_path, elements, *, runner=None, element_type=pa.Table, **settings) -> tuple[pa.Table, list[dict]]:
    """Returns all interactions and the rejected rows."""

    def keep(name):
        return lambda tables: (tmp_path / name).write_bytes(pickle.dumps(tables))

    settings = {"staging": str(tmp_path / "staging"), "policy": POLICY, **settings}
    with beam.Pipeline(runner or FnApiRunner()) as pipeline:
        source = pipeline | beam.Create(elements, reshuffle=False).with_output_types(element_type)
        result = source | CleanInteractions(world.model, world.embeddings, **settings)
        assert_that(result.interactions, keep("interactions"), label="interactions")
        assert_that(result.rejected, keep("rejected"), label="rejected")
    interactions, rejected = (pickle.loads((tmp_path / name).read_bytes()) for name in ("interactions", "rejected"))
    cleaned = pa.concat_tables(interactions).sort_by(KEY) if interactions else pa.table({})
    return cleaned, [row for table in rejected for row in table.to_pylist()]


def clean_in_memory(world, log: pa.Table, columns: InteractionColumns | None = None, rules=None):
    collaborative = read_embeddings(f"{world.model}/{COLLABORATIVE}", kind="collaborative")
    items = join_embedding_tables(read_embeddings(world.embeddings), collaborative)
    model, reference = IADSR.from_pretrained(world.model), read_noise_reference(world.model)
    return clean_table(log, model, items, reference, columns or InteractionColumns(), POLICY, rules)


def pieces(table: pa.Table, *starts: int) -> list[pa.Table]:
    ends = [*starts[1:], len(table)]
    return [table.slice(start, end - start) for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shuffle": "bytes", "join": "shuffle", "shards": 3, "runner": FnApiRunner(bundle_repeat=1)},
    ],
)
def test_tables_are_decided_as_the_clean_command_decides(world, cleaned, tmp_path, settings):
    log = world.log()
    interactions, rejected = run(world, tmp_path, pieces(log, 0, 7, 1000), schema=log.schema, **settings)
    assert interactions.equals(cleaned)
    assert 0 < len(interactions) - pc.sum(interactions["keep"]).as_py() < 400
    assert rejected == []
    assert {path.name for path in tmp_path.iterdir()} == {"staging", "interactions", "rejected"}


def test_a_whole_table_is_decided_in_memory_likewise(world, cleaned):
    log = pa.concat_tables([world.log(), world.log().slice(0, 1).set_column(0, "user_id", pa.array([""]))])
    found = clean_in_memory(world, log)
    assert found.interactions.sort_by(KEY).equals(cleaned)
    assert found.rejected["reason"].to_pylist() == ["empty user_id"]
    with pytest.raises(InputError) as error:
        clean_in_memory(world, log.slice(len(log) - 1))
    assert error.value.code == "TABLE-NONE"


def test_rules_of_the_whole_log_decide_alike_in_memory_and_over_shards(world, tmp_path):
    log, rules = world.log(), RuleOptions(last_interactions=6, min_item_interactions=60)
    found = clean_in_memory(world, log, rules=rules)
    interactions, _ = run(world, tmp_path, pieces(log, 0, 1000), schema=log.schema, rules=rules, shards=3)
    assert found.interactions.sort_by(KEY).equals(interactions)
    dropped = Counter(found.interactions["reason"].to_pylist())
    assert dropped["window"] == 800
    assert 0 < dropped["core"] < 2400
    assert any(str(reason).startswith("noise:") for reason in dropped)


def test_a_table_with_columns_of_added_names_is_cleaned_under_other_names(world, cleaned, tmp_path):
    log = world.log().append_column("weight", world.log()["rating"])
    with pytest.raises(InputError, match="has a column 'weight'") as error:
        run(world, tmp_path, [log], schema=log.schema)
    assert error.value.code == "LOG-ADDED"
    names = AddedColumns(names=("weight=w",))
    interactions, _ = run(world, tmp_path, [log], schema=log.schema, added=names)
    assert interactions["weight"].equals(interactions["rating"])
    assert interactions["w"].equals(cleaned["weight"])
    assert interactions["keep"].equals(cleaned["keep"])


def test_a_pipeline_that_runs_again_takes_over_the_shards_of_the_same_rows_only(world, tmp_path):
    log = world.log()
    pq.write_table(log, tmp_path / "log.parquet")

    def keep(tables):
        (tmp_path / "found").write_bytes(pickle.dumps(tables))

    def staged():
        # A number of a file alone may be given again to a new one.
        found = {path.name: path.stat() for path in tmp_path.glob("staging/clean-*/[rs]*ed-*")}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}

    pipeline = beam.Pipeline(FnApiRunner())
    paths = pipeline | beam.Create([str(tmp_path / "log.parquet")], reshuffle=False)
    tables = paths | beam.Map(pq.read_table).with_output_types(pa.Table)
    clean = CleanInteractions(world.model, world.embeddings, str(tmp_path / "staging"), log.schema, policy=POLICY)
    assert_that((tables | clean).interactions, keep)
    pipeline.run()
    first = staged()
    assert len(first) >= 2
    pipeline.run()
    assert staged() == first
    fewer = log.slice(0, 2000)
    pq.write_table(fewer, tmp_path / "log.parquet")
    pipeline.run()
    found = pa.concat_tables(pickle.loads((tmp_path / "found").read_bytes())).sort_by(KEY)
    (tmp_path / "fresh").mkdir()
    assert found.equals(run(world, tmp_path / "fresh", [fewer], schema=log.schema)[0])
    assert not first.items() & staged().items()


class Interaction(NamedTuple):
    user_id: str
    item_id: str
    timestamp: int
    rating: int


def test_rows_with_a_schema_are_decided_likewise(world, cleaned, tmp_path):
    rows = [Interaction(**row) for row in world.log().to_pylist()]
    interactions, rejected = run(world, tmp_path, rows, element_type=Interaction)
    assert interactions.drop_columns("rating").equals(cleaned.drop_columns("rating"))
    assert interactions["rating"].to_pylist() == cleaned["rating"].to_pylist()
    assert interactions.schema.field("rating").type == pa.int64()
    assert rejected == []


def test_neither_order_nor_cut_of_the_input_decides_anything(world, tmp_path):
    log = world.log()
    # All of a user's interactions at one time, of two items only: what is left to tell rows apart is the rating.
    half = pc.starts_with(log["item_id"], "item-1")
    log = log.set_column(1, "item_id", pc.if_else(half, "item-01", "item-31"))
    log = log.set_column(2, "timestamp", pa.array(np.zeros(len(log), np.int64)))
    shuffled = log.take(np.random.default_rng(0).permutation(len(log)))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, _ = run(world, tmp_path / "a", pieces(log, 0, 500), schema=log.schema)
    other, _ = run(world, tmp_path / "b", pieces(shuffled, 0, 10, 900, 1700), schema=log.schema)
    order = [*KEY, ("noise_probability", "ascending")]
    assert one.sort_by(order).equals(other.sort_by(order))
    ties = one.group_by([name for name, _ in KEY[:3]]).aggregate([("rating", "count_distinct")])
    assert pc.max(ties["rating_count_distinct"]).as_py() > 1


def test_rows_that_cannot_be_used_are_the_second_output(world, cleaned, tmp_path):
    log = world.log()
    bad = pa.table({"user_id": [None, "u"], "item_id": ["item-01", ""], "timestamp": [1, 2], "rating": [1, 2]})
    bad = bad.cast(log.schema)
    interactions, rejected = run(world, tmp_path, [bad, log], schema=log.schema)
    assert interactions.equals(cleaned)
    assert sorted((row["file"], row["row_number"], row["reason"]) for row in rejected) == [
        ("", 0, "null user_id"),
        ("", 1, "empty item_id"),
    ]
    assert '"item_id": "item-01"' in next(row["row"] for row in rejected if row["row_number"] == 0)
    (tmp_path / "none").mkdir()
    nothing, rejected = run(world, tmp_path / "none", [bad], schema=log.schema)
    assert len(nothing) == 0
    assert len(rejected) == 2


def test_a_table_of_another_schema_is_refused(world, tmp_path):
    log = world.log()
    renamed = log.rename_columns(["user_id", "item_id", "timestamp", "stars"])
    for table, found in (
        (renamed, "columns user_id, item_id, timestamp, stars"),
        (log.set_column(2, "timestamp", pa.array(["today"] * len(log))), "timestamp: string"),
    ):
        with pytest.raises(Exception, match="does not have the schema") as error:
            run(world, tmp_path, [log, table], schema=log.schema)
        assert found in str(error.value)
        assert "user-0" not in str(error.value)


def test_a_column_that_holds_no_behaviours_is_refused_in_memory_and_in_a_pipeline(world, tmp_path):
    log = world.log().append_column("event", pa.array(["click"] * len(world.log())))
    columns = InteractionColumns(behaviour="event", behaviours=("view", "buy"))
    with pytest.raises(InputError, match="none of the behaviours") as in_memory:
        clean_in_memory(world, log, columns)
    with pytest.raises(Exception, match="none of the behaviours") as in_pipeline:
        run(world, tmp_path, pieces(log, 0, 100), schema=log.schema, columns=columns)
    assert in_memory.value.code == "LOG-BEHAVIOURS"
    assert "LOG-BEHAVIOURS" in str(in_pipeline.value)


def test_what_cannot_work_is_refused_before_the_pipeline_runs(world, tmp_path):
    log = world.log()
    with pytest.raises(InputError) as error:
        run(world, tmp_path, [log])
    assert error.value.code == "TABLE-NOSCHEMA"
    with pytest.raises(InputError, match="has no column 'who'"):
        run(world, tmp_path, [log], schema=log.schema, columns=InteractionColumns(user="who"))
    assert not (tmp_path / "staging").exists()


def test_the_example_in_the_docstring_runs(world, cleaned, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, source in (("log", world.interactions), ("model", world.model), ("embeddings", world.embeddings)):
        shutil.copytree(source, name)
    text = (CleanInteractions.__doc__ or "").partition("Parquet files::\n")[2].partition("    Raises:")[0]
    assert "with beam.Pipeline" in text
    exec(textwrap.dedent(text), {"options": beam.options.pipeline_options.PipelineOptions(runner="FnApiRunner")})
    rows = [eval(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert 2500 < len(rows) < 3200
    assert all(row["keep"] for row in rows)
    assert {row["user_id"] for row in rows} <= set(cleaned["user_id"].to_pylist())
