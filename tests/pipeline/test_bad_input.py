"""A log with everything wrong with it, from end to end."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.pipeline import clean
from iadsr.pipeline.commands.messages import describe_cleaning, describe_verification
from iadsr.transforms.judge import score_shards as scoring
from iadsr.transforms.run.verification import verify_output

USERS = [
    "a\nb",
    "a\0b",
    "\u202eevil",
    "\x1b[31m",
    "<script>alert(1)</script>",
    "x" * 1_000_000,
    "\U0001f3ac",
    '" onload="x',
]


def run(world, log, output, **changes):
    settings = {"embeddings": world.embeddings, "model": world.model, "drop_rate": 0.3, **changes}
    return clean(interactions=log, output=output, **settings).manifest


@pytest.fixture
def hostile(tmp_path) -> Path:
    """Users of every strange kind with eight interactions each, beside bad files, bad rows and a bad row group."""
    log = tmp_path / "log"
    log.mkdir()
    n = len(USERS) * 8
    extra = {
        "struct": pa.array([{"a": [k], "b": str(k)} if k % 3 else None for k in range(n)]),
        "binary": pa.array([bytes([k]) for k in range(n)]),
        "dictionary": pa.array([str(k % 2) for k in range(n)]).dictionary_encode(),
        "map": pa.array([[("k", k)] for k in range(n)], pa.map_(pa.string(), pa.int32())),
        "nothing": pa.nulls(n),
    }
    items = [f"item-{(k * 7) % 40:02d}" if k % 13 else "\x1b]0;title\x07" for k in range(n)]
    table = pa.table({"user_id": USERS * 8, "item_id": items, "timestamp": [k * 1.5 - 40 for k in range(n)], **extra})
    pq.write_table(table, log / "a.parquet", row_group_size=16)
    rows = {"user_id": ["u", "u", None, "u"], "item_id": ["item-01"] * 4, "timestamp": [1.0, np.nan, 2.0, np.inf]}
    pq.write_table(pa.table(rows), log / "b.parquet")
    pq.write_table(pa.table({**rows, "timestamp": ["x"] * 4}), log / "mixed.parquet")
    (log / "c\n\x1b[2J.parquet").write_bytes(b"")
    (log / "d.parquet").write_bytes((log / "a.parquet").read_bytes()[:-100])
    chunk = pq.ParquetFile(log / "a.parquet").metadata.row_group(2).column(2)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data = bytearray((log / "a.parquet").read_bytes())
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    (log / "a.parquet").write_bytes(data)
    return log


def test_what_is_bad_is_named_and_counted_and_the_rest_is_cleaned(world, hostile, tmp_path):
    with pytest.raises(InputError):
        run(world, hostile, tmp_path / "out")
    manifest = run(
        world, hostile, tmp_path / "out", on_bad_file="skip", max_rejected=0.5, shards=3, report_users="plain"
    )
    assert manifest is not None
    read = len(USERS) * 8 + 4
    assert manifest.rows.read == read
    assert manifest.reasons.rejected == {"null user_id": 1, "unparsable timestamp": 2, "unreadable": 16}
    assert [(file.read, file.rejected, file.unreadable) for file in manifest.files] == [
        (read - 4, 16, 16),
        (4, 3, 0),
    ]
    assert {Path(f.path).name: (f.code, f.rows) for f in manifest.skipped_files} == {
        "c\n\x1b[2J.parquet": ("FILE-READ", None),
        "d.parquet": ("FILE-READ", None),
        "mixed.parquet": ("LOG-MIXED", 4),
    }
    verified = verify_output(str(tmp_path / "out"))
    assert (verified.inputs_compared, verified.skipped) == (2, 3)
    assert "The run left out 3 files." in describe_verification(verified, "out")
    table = pq.read_table(tmp_path / "out" / "interactions")
    assert set(table["user_id"].to_pylist()) <= {*USERS, "u"}
    assert table.schema.field("struct").type == pa.struct([("a", pa.list_(pa.int64())), ("b", pa.string())])
    said = describe_cleaning(manifest, str(tmp_path / "out"))
    assert "FILE-READ" in said
    assert not set(said) & {"\x1b", "\0", "\u202e"}
    report = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in report
    assert 'onload="x"' not in report
    assert "\x1b" not in report
    assert "Files left out" in report


def test_too_many_unusable_rows_stop_the_run_before_anything_is_scored(world, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "score_shard", lambda *arguments: pytest.fail("scored"))
    log = world.log()
    users = [None if row % 9 == 0 else user for row, user in enumerate(log["user_id"].to_pylist())]
    pq.write_table(log.set_column(0, "user_id", pa.array(users)), tmp_path / "log.parquet")
    with pytest.raises(InputError) as error:
        run(world, tmp_path / "log.parquet", tmp_path / "out")
    assert error.value.code == "ROWS-REJECTED"
    assert error.value.found == "356 of 3,200 rows (11.1%): null user_id (356 rows)"
    assert len(pq.read_table(tmp_path / "out" / "rejected")) == 356
    assert not (tmp_path / "out" / "manifest.json").exists()
    monkeypatch.undo()
    manifest = run(world, tmp_path / "log.parquet", tmp_path / "out", max_rejected=0.2)
    assert manifest is not None
    assert manifest.rows.rejected == 356


def test_the_report_shows_users_under_pseudonyms_by_default(world, tmp_path):
    for users in ("hashed", "plain", "none"):
        run(world, world.interactions, tmp_path / users, report_users=users)
    reports = {users: (tmp_path / users / "report.html").read_text() for users in ("hashed", "plain", "none")}
    assert "user-" in reports["plain"]
    assert "user-" not in reports["hashed"]
    assert "under pseudonyms" in reports["hashed"]
    assert "user-" not in reports["none"]
    assert "Left out because of --report-users none." in reports["none"]
    for users in reports:
        assert "user-" not in (tmp_path / users / "manifest.json").read_text()
    assert json.loads((tmp_path / "hashed" / "manifest.json").read_text())["options"]["report_users"] == "hashed"
