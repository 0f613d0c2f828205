import io
import json
import re
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.pipeline.commands import doctor, work_plan
from iadsr.pipeline.commands.command_options import DoctorOptions
from iadsr.pipeline.commands.doctor import examine
from iadsr.pipeline.commands.messages import describe_findings
from iadsr.pipeline.engines.engine_options import EngineOptions
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


def test_why_first_rows_are_unusable_is_told_and_it_is_a_problem_if_none_is_left(tmp_path):
    log = pa.table({"user_id": ["a"] * 18 + [None] * 2, "item_id": ["x"] * 20, "timestamp": range(20)})
    pq.write_table(log, tmp_path / "log.parquet")
    found = findings(interactions=str(tmp_path / "log.parquet"))["Log"]
    assert found.healthy
    assert found.text.endswith("of the first 20 rows 2 unusable: null user_id (2 rows)")
    pq.write_table(log.slice(10), tmp_path / "log.parquet")
    found = findings(interactions=str(tmp_path / "log.parquet"))["Log"]
    assert "clean stops if as many rows of the whole log are unusable: correct the log" in found.text
    pq.write_table(log.slice(18), tmp_path / "log.parquet")
    found = findings(interactions=str(tmp_path / "log.parquet"))["Log"]
    assert not found.healthy
    assert "DOCTOR-ROWS" in found.text


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


def test_the_work_is_told_and_needs_no_model_for_the_rules_alone(healthy, monkeypatch):
    monkeypatch.setattr(work_plan, "RULES_START_SECONDS", 0)
    monkeypatch.setattr(work_plan, "BYTE_PACE", float("inf"))
    monkeypatch.setattr(work_plan, "RULES_PACE", 3200 / 150)
    assert re.fullmatch(
        "2 parts to read, 10 shards of users with about 320 rows each; 0 MiB travel between them, 0 MiB wait in files "
        "between the steps; about 2 minutes of one core, less on a quiet machine and up to half more on a crowded one",
        findings(**healthy, shards=10, rules_only=True)["Work"].text,
    )
    for seconds, words in ((90, "about 90 seconds"), (7190, "about 120 minutes"), (90_000, "about 25 hours")):
        monkeypatch.setattr(work_plan, "RULES_PACE", 3200 / seconds)
        assert words in findings(**healthy, rules_only=True)["Work"].text


def test_requests_are_told_where_something_is_in_an_object_store(healthy, store):
    assert "requests" not in findings(**healthy)["Work"].text
    found = findings(**healthy | {"output": "memory://bucket/out"})
    assert re.search(r"; about \d+ requests if all of it is in an object store$", found["Work"].text)


def test_what_does_not_fit_into_memory_is_told_with_what_helps(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "_available_memory", lambda: 1000)
    monkeypatch.setattr(work_plan, "PART_FACTOR", 0)
    monkeypatch.setattr(work_plan, "GROUP_FACTOR", 0)
    found = findings(**healthy, shards=10)["Memory"].text
    assert re.search(r"about 1000 MiB for 1 worker and 10 shards\n", found)
    assert "use more --shards" in found
    monkeypatch.setattr(work_plan, "GROUP_FACTOR", 1 << 20)
    assert "write the log in smaller row groups" in findings(**healthy, shards=10)["Memory"].text


@pytest.mark.parametrize(
    ("engine", "settings", "words"),
    [
        ("spark://nowhere.invalid:7077", {}, r"an executor has one for each of its cores \(1\), .* \(1g\)"),
        (
            "spark://nowhere.invalid:7077",
            {"spark.executor.cores": "4", "spark.executor.memory": "6g"},
            r"an executor has one for each of its cores \(4\), .* \(6g\)",
        ),
        ("flink://nowhere.invalid:8081", {}, "one for each task slot"),
        ("dataflow", {}, "a machine has one for each vCPU"),
    ],
)
def test_an_engines_machines_need_memory_for_each_worker(healthy, engine, settings, words):
    given = EngineOptions(engine, tuple(f"{name}={value}" for name, value in settings.items()))
    found = doctor._engine_memory(planned(healthy), given)
    assert re.fullmatch(f"about 1000 MiB for each Python worker; .*{words}.*", found)


def planned(healthy) -> work_plan.WorkPlan:
    plan = plan_input(LogSource(healthy["interactions"]))
    return work_plan.plan_work(plan, 8, 40.0, "claim-check", 1000)


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
