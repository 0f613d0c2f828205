import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from iadsr.transforms.contract.sharding import Sharding, split_by_shard
from iadsr.transforms.files.run_paths import StagingPaths
from iadsr.transforms.rules.rule_log import RuleLog, count_open_items, read_ruled_shard, rule_whole_log
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rule_set import make_rules
from iadsr.transforms.shuffle.slices import ship

from .conftest import COLUMNS, START, ordered_log

OPTIONS = RuleOptions(min_user_interactions=12, min_item_interactions=9)


def log_rows() -> list[tuple]:
    generator = np.random.default_rng(1)
    people = [(f"u{generator.integers(30):02d}", f"i{generator.integers(40):02d}", 97 * k) for k in range(400)]
    bots = [(f"bot{bot}", f"i{item:02d}", 8 * place + bot) for bot in range(3) for place, item in enumerate(range(55))]
    return people + people[:50] + bots


def dropped_rows(rows: list[tuple], shards: int, still_open: int, tmp_path) -> dict[str, set[int]]:
    """Returns the numbers of the rows that each rule drops, by the Beam transform over several shards."""
    _, clock = ordered_log(rows)
    table = pa.table(
        {
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "timestamp": pa.array([row[2] + START for row in rows]),
            "__iadsr_row": pa.array(range(len(rows))),
        }
    )
    rules, paths = make_rules(OPTIONS, "item_id", pa.string()), StagingPaths(str(tmp_path))
    parts = split_by_shard(table, "user_id", Sharding(shards, shards))
    slices = list(ship(parts, 0, paths.slices(0), "bytes"))
    with beam.Pipeline() as pipeline:
        grouped = pipeline | beam.Create(slices) | beam.GroupByKey()
        ruled = grouped | RuleLog(COLUMNS, rules, paths, pipeline | "Clock" >> beam.Create([clock]))
        log_rules = beam.pvalue.AsSingleton(ruled.log_rules)
        found = ruled.shards | beam.FlatMap(_rows_by_rule, log_rules, paths)
        _ = found | beam.Map(lambda each: f"{each[0]} {each[1]}") | beam.io.WriteToText(str(tmp_path / "found"))
        counted = ruled.item_counts | beam.Map(lambda counts: sum(counts["count"].to_pylist()))
        assert_that(counted | beam.CombineGlobally(sum), equal_to([still_open]))
    result: dict[str, set[int]] = {}
    for path in tmp_path.glob("found*"):
        for line in path.read_text().splitlines():
            code, row = line.split()
            result.setdefault(code, set()).add(int(row))
    return result


def _rows_by_rule(shard, log_rules, paths):
    ruled = log_rules.applied(read_ruled_shard(paths, shard), COLUMNS)
    for row, taken in zip(ruled.ordered.rows, ruled.taken, strict=True):
        if taken >= 0:
            yield log_rules.rules.codes[taken], int(row)


@pytest.mark.parametrize("shards", [1, 3])
def test_all_shards_together_decide_as_one_log_in_memory(tmp_path, shards):
    rows = log_rows()
    ordered, clock = ordered_log(rows)
    rules = make_rules(OPTIONS, "item_id", ordered.item_ids.type)
    ruled = rule_whole_log(ordered, rules, COLUMNS, clock)
    expected: dict[str, set[int]] = {}
    for row, taken in zip(ruled.ordered.rows, ruled.taken, strict=True):
        if taken >= 0:
            expected.setdefault(rules.codes[taken], set()).add(int(row))
    assert set(expected) == {"duplicate", "shared_list", "core"}
    assert len(expected["duplicate"]) == 50
    assert len(expected["shared_list"]) == 165
    assert dropped_rows(rows, shards, int(ruled.open.sum()), tmp_path) == expected


def test_items_of_which_nothing_is_open_are_counted_as_none():
    rows = [("u", "a", 0), ("u", "b", 1)]
    ordered, clock = ordered_log(rows)
    rules = make_rules(RuleOptions(first_interactions=1), "item_id", pa.string())
    counts = count_open_items(rule_whole_log(ordered, rules, COLUMNS, clock))
    assert counts.to_pydict() == {"item_id": ["a", "b"], "count": [1, 0]}
