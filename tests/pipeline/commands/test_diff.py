import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from iadsr.models.core.errors import InputError, UsageError
from iadsr.pipeline import clean, diff
from iadsr.pipeline.cli.app import app

USERS, START = 60, 1_600_000_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two days: on the second one, ten users have a row twice, two are new and one is gone."""
    root = tmp_path_factory.mktemp("runs")
    log = [(f"user-{number % USERS:02d}", f"item-{number}", START + 997 * number) for number in range(USERS * 4)]
    more = [*log[:10], ("user-98", "item-1", START), ("user-99", "item-1", START)]
    days = {"monday": log, "tuesday": [row for row in log + more if row[0] != "user-50"]}
    for day, rows in days.items():
        columns = zip(*rows, strict=True)
        table = pa.table(dict(zip(("user_id", "item_id", "timestamp"), columns, strict=True)))
        pq.write_table(table, root / f"{day}.parquet")
        for shards in (2, 3):
            clean(interactions=root / f"{day}.parquet", output=root / f"{day}-{shards}", rules_only=True, shards=shards)
    return root


@pytest.mark.parametrize("shards", [2, 3])
def test_what_changed_between_two_runs_whatever_their_shards(runs, shards, tmp_path):
    result = diff(str(runs / "monday-2"), str(runs / f"tuesday-{shards}"), rows=tmp_path / "rows.parquet")
    found = result.changes
    assert (found.interactions, found.users) == ((240, 248), (60, 61))
    assert found.unchanged == 236
    assert found.causes == ()
    assert [(each.change, each.why, each.interactions, each.users) for each in found.changes] == [
        ("new row", "", 12, 12),
        ("removed row", "", 4, 1),
    ]
    rows = pq.read_table(tmp_path / "rows.parquet")
    assert len(rows) == 16
    assert set(rows["user"].to_pylist()) >= {"user-50", "user-98", "user-99", "user-00"}
    reasons = rows.filter(pc.equal(rows["change"], "new row"))["later_reason"].to_pylist()
    assert sorted(map(str, reasons)) == ["None"] * 2 + ["duplicate"] * 10


def test_the_command_line_shows_a_table_and_writes_json(runs, tmp_path):
    shown = CliRunner().invoke(
        app, ["diff", str(runs / "monday-2"), str(runs / "tuesday-2"), f"--output={tmp_path / 'diff.json'}"]
    )
    assert shown.exit_code == 0
    assert "240 to 248 interactions, 60 to 61 users." in shown.stdout
    assert "Model, rules and policy are equal." in shown.stdout
    assert "Unchanged: 236 interactions." in shown.stdout
    assert json.loads((tmp_path / "diff.json").read_text())["changes"][0] == {
        "change": "new row",
        "why": "",
        "interactions": 12,
        "users": 12,
    }
    same = CliRunner().invoke(app, ["diff", str(runs / "monday-2"), str(runs / "monday-3")])
    assert same.stdout.endswith("Nothing has changed.\n")


def test_a_new_rule_is_named_as_the_cause(runs, tmp_path):
    clean(interactions=runs / "tuesday.parquet", output=tmp_path / "out", rules_only=True, duplicates="count")
    (change,) = diff(str(runs / "tuesday-2"), str(tmp_path / "out")).changes.changes
    assert (change.change, change.why, change.interactions) == ("now kept", "new rules or policy", 10)


def test_runs_that_are_not_finished_and_files_that_cannot_be_written_are_refused(runs, tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        diff(str(runs / "monday-2"), str(tmp_path))
    with pytest.raises(UsageError, match="--output cannot be written"):
        diff(str(runs / "monday-2"), str(runs / "monday-3"), rows=tmp_path / "none" / "rows.parquet")
