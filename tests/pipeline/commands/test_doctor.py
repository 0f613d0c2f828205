import io
import json
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.pipeline.commands import doctor
from iadsr.pipeline.commands.command_options import DoctorOptions
from iadsr.pipeline.commands.doctor import examine
from iadsr.pipeline.commands.messages import describe_findings
from iadsr.transforms.contract.added_columns import AddedColumns
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.run.output_directory import locked


def findings(**options) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in examine(DoctorOptions(**options))}


@pytest.fixture
def healthy(world, tmp_path) -> dict[str, str]:
    pq.write_table(pa.table({"item_id": ["item-01", "item-02"], "title": ["a", None]}), tmp_path / "items.parquet")
    return {
        "interactions": world.interactions,
        "embeddings": world.embeddings,
        "model": world.model,
        "items": str(tmp_path / "items.parquet"),
        "output": str(tmp_path / "out"),
    }


def test_an_installation_is_checked_without_any_input():
    found = findings()
    assert found["Python"].healthy
    assert found["torch"].text == metadata.version("torch")
    assert "Log" not in found
    assert "minilm" in found["Encoders"].text


def test_the_cores_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5, 6}, raising=False)
    assert findings()["Python"].text.endswith(", 3 cores")


def test_a_healthy_set_of_inputs_is_found_so(healthy):
    found = findings(**healthy)
    assert [finding for finding in found.values() if not finding.healthy] == []
    assert found["Log"].text.startswith("3,200 rows in 2 files, user_id string, item_id string, timestamp int64")
    assert found["Catalogue"].text == "2 items, 1 with text from title"
    assert "test-encoder" in found["Embeddings"].text
    assert found["Model and embeddings"].text == "belong together"
    assert found["Log and embeddings"].text == "40 of 40 items in the log's first rows have an embedding"
    assert found["Output"].text == "will be created"
    assert "needed" in found["Disk"].text
    assert "needed" in found["Memory"].text


def test_columns_that_clean_would_add_are_told_and_are_no_problem(tmp_path):
    log = pa.table({"user_id": ["a"], "item_id": ["x"], "timestamp": [1], "weight": [1.0], "Keep": [1]})
    pq.write_table(log, tmp_path / "log.parquet")
    found = findings(interactions=str(tmp_path / "log.parquet"))["Log"]
    assert found.healthy
    assert found.text.endswith(
        "; clean needs --added-prefix, as it adds columns of the same names as the log's Keep, weight"
    )
    scored = log.drop_columns(["weight", "Keep"]).append_column("noise_probability", pa.array([0.5]))
    pq.write_table(scored, tmp_path / "scored.parquet")
    asked = {"interactions": str(tmp_path / "scored.parquet")}
    assert "--added-prefix" in findings(**asked)["Log"].text
    assert "--added-prefix" not in findings(**asked, rules_only=True)["Log"].text
    renamed = findings(interactions=str(tmp_path / "log.parquet"), added=AddedColumns(prefix="x_"))["Log"]
    assert "--added-prefix" not in renamed.text


def test_rules_are_checked_against_the_log_and_its_clock(tmp_path):
    times = pa.array([1_700_000_040 + 60 * minute for minute in range(5)])
    log = pa.table({"user_id": ["a"] * 5, "item_id": ["x"] * 5, "timestamp": times, "rating": [1.0] * 5})
    pq.write_table(log, tmp_path / "log.parquet")

    def rules(**options) -> doctor.Finding:
        return findings(interactions=str(tmp_path / "log.parquet"), rules=RuleOptions(**options))["Rules"]

    assert rules(value_column="rating", min_value=2.0).text.startswith("drop value")
    assert "count nobody, duplicate" in rules().text
    assert "RULE-COLUMN" in rules(event_column="event").text
    assert "RULE-RETURNED" in rules(returned_column="rating", returned_values=("cancel",)).text
    assert "FILE-NONE" in rules(non_items=str(tmp_path / "nothing.txt")).text
    ranks = log.set_column(2, "timestamp", pa.array(range(5)))
    pq.write_table(ranks, tmp_path / "log.parquet")
    assert "RULE-CLOCK" in rules(last_days=3.0).text


def test_behaviours_are_counted_and_what_is_odd_about_them_is_told(tmp_path):
    events = ["view", "view", "buy", "back", "share"]
    log = pa.table({"user_id": list("aaaaa"), "item_id": list("xxxxx"), "timestamp": range(5), "event": events})
    pq.write_table(log, tmp_path / "log.parquet")

    def behaviours(*order: str, **rules) -> doctor.Finding:
        columns = InteractionColumns(behaviour="event", behaviours=order or None)
        asked = {"interactions": str(tmp_path / "log.parquet"), "columns": columns, "rules": RuleOptions(**rules)}
        return findings(**asked)["Behaviours"]

    returned = {"returned_column": "event", "returned_values": ("back=buy",)}
    assert behaviours("view", "buy", **returned).text.splitlines() == [
        "back 1, share 1, view 2, buy 1; buy ends a journey",
        "  note:     Not named by --behaviours, and taken for weaker than all of them: share 1.",
    ]
    assert "Behaviours without an order" in behaviours().text
    assert "LOG-BEHAVIOURS" in behaviours("VIEW").text
    assert "RULE-TAKES-BACK" in behaviours("view", "buy", returned_column="event", returned_values=("back",)).text
    assert "Behaviours" not in findings(interactions=str(tmp_path / "log.parquet"))


def test_what_is_ill_is_told_with_its_code_and_the_rest_is_checked_all_the_same(healthy, tmp_path):
    pq.write_table(pa.table({"user": ["a"], "item_id": ["x"], "timestamp": [1]}), tmp_path / "log.parquet")
    (tmp_path / "file").touch()
    changed = {"interactions": "log.parquet", "model": "", "output": "file"}
    found = findings(**healthy | {name: str(tmp_path / path) for name, path in changed.items()})
    ill = {name: finding.text.splitlines()[0].split(":")[0] for name, finding in found.items() if not finding.healthy}
    assert ill == {"Log": "IADSR-LOG-COLUMN", "Model": "IADSR-MODEL-MISSING", "Output": "IADSR-DOCTOR-OUTPUT"}
    text = "\n".join(describe_findings(found.values()))
    assert "PROBLEM  Log" in text
    assert "ok       Embeddings" in text


def test_embeddings_of_other_items_or_another_encoder_are_told(healthy, world, tmp_path):
    pq.write_table(pa.table({"user_id": ["a"], "item_id": ["x"], "timestamp": [1]}), tmp_path / "log.parquet")
    found = findings(**{**healthy, "interactions": str(tmp_path / "log.parquet")})
    assert "DOCTOR-ITEMS" in found["Log and embeddings"].text
    table = pq.read_table(world.embeddings)
    other = json.loads(table.schema.metadata[b"iadsr"]) | {"encoder": "another"}
    pq.write_table(table.replace_schema_metadata({"iadsr": json.dumps(other)}), tmp_path / "e.parquet")
    found = findings(**{**healthy, "embeddings": str(tmp_path / "e.parquet")})
    assert "MODEL-FIT" in found["Model and embeddings"].text


def test_too_little_disk_or_memory_is_told_beforehand(healthy, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1000))
    monkeypatch.setattr(doctor, "_available_memory", lambda: 1000)
    found = findings(**healthy)
    assert "DOCTOR-DISK" in found["Disk"].text
    assert "DOCTOR-MEMORY" in found["Memory"].text


@pytest.mark.parametrize(
    ("limit", "available"), [("1048576", 1 << 20), ("max", 3 << 20), ("9" * 12, 3 << 20), (None, 3 << 20)]
)
def test_the_memory_that_is_free_is_not_more_than_a_container_allows(limit, available, monkeypatch):
    def read(path, **_):
        if path == "/proc/meminfo":
            return io.StringIO("MemTotal: 4096 kB\nMemAvailable: 3072 kB\n")
        assert path == "/sys/fs/cgroup/memory.max"
        if limit is None:
            raise FileNotFoundError(path)
        return io.StringIO(limit + "\n")

    monkeypatch.setattr(doctor, "open", read, raising=False)
    assert doctor._available_memory() == available


def test_more_shards_need_less_memory_and_fewer_more(healthy, monkeypatch):
    plan = plan_input(LogSource(healthy["interactions"]))
    monkeypatch.setattr(doctor, "_available_memory", lambda: 1000)
    monkeypatch.setattr(doctor, "BASE_BYTES", 0)
    monkeypatch.setattr(doctor, "SHARD_FACTOR", 1 << 20)
    gib = (plan.uncompressed_bytes + 64 * plan.rows) / 1024
    whole, tenth = (findings(**healthy, shards=shards)["Memory"].text for shards in (None, 10))
    assert f"about {gib:.1f} GiB for 1 worker and 1 shard\n" in whole
    assert f"about {gib / 10:.1f} GiB for 1 worker and 10 shards\n" in tenth


def test_the_work_is_told_from_the_footers_alone(healthy, monkeypatch):
    size = doctor._size(plan_input(LogSource(healthy["interactions"])).uncompressed_bytes)
    assert findings(**healthy, shards=10)["Work"].text == (
        f"2 parts to read, 10 shards of users with about 320 rows each; {size} travel between them in up to 20 slices; "
        "7 to 7 seconds of one core"
    )
    for quick, slow, words in ((1, 2, "8 to 9 seconds"), (113, 533, "2 to 9 minutes"), (7193, 71_993, "2 to 20 hours")):
        monkeypatch.setattr(doctor, "RULES_PACE", (3200 / quick, 3200 / slow))
        assert findings(**healthy, rules_only=True)["Work"].text.endswith(f"; {words} of one core")


def test_row_groups_that_are_read_whole_need_memory_too(healthy, monkeypatch, tmp_path):
    log, path = pq.read_table(healthy["interactions"]), str(tmp_path / "one-group.parquet")
    pq.write_table(log, path, row_group_size=len(log))
    group = pq.read_metadata(path).row_group(0).total_byte_size
    monkeypatch.setattr(doctor, "_available_memory", lambda: 1000)
    monkeypatch.setattr(doctor, "BASE_BYTES", 0)
    monkeypatch.setattr(doctor, "SPLIT_FACTOR", 1 << 20)
    found = findings(interactions=path, shards=10)["Memory"].text
    assert f"about {group / 1024:.1f} GiB for 1 worker and 10 shards\n" in found
    assert "write the log in smaller row groups" in found


def test_the_catalogue_is_read_as_embed_would(healthy):
    items = pa.table({"sku": ["item-01", "item-02"], "title": ["a", "b"], "brand": ["c", None]})
    pq.write_table(items, healthy["items"])
    columns = InteractionColumns(item="sku")
    found = findings(items=healthy["items"], columns=columns, text_columns=("brand",))
    assert found["Catalogue"].text == "2 items, 1 with text from brand"


def test_a_directory_that_is_being_written_to_is_told(healthy):
    with locked(healthy["output"]):
        assert "OUTPUT-BUSY" in findings(**healthy)["Output"].text
    assert findings(**healthy)["Output"].text == "exists, empty"
    (Path(healthy["output"]) / "manifest.json").write_text("{}")
    assert "finished run" in findings(**healthy)["Output"].text


def test_packages_of_the_wrong_version_are_told(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1")
    found = findings()
    assert "DOCTOR-VERSION" in found["torch"].text
    assert "pip install" in found["torch"].text
