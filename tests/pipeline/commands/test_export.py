"""The export command on a run of `clean`: the raw log's last interactions are the test items."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError, UsageError
from iadsr.pipeline import clean, export, verify


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    rows = [(user, f"i{(user * 3 + place) % 7}", 1_700_000_000 + place // 2) for user in range(6) for place in range(6)]
    users, items, times = zip(*(rows[place * 5 % len(rows)] for place in range(len(rows))), strict=True)
    pq.write_table(pa.table({"who": users, "item_id": items, "timestamp": times}), root / "log.parquet")
    clean(interactions=root / "log.parquet", user_column="who", rules_only=True, hold_out=2, output=root / "run")
    last = {}
    for user, item, _ in sorted(rows, key=lambda row: (row[0], row[2], row[1])):
        last.setdefault(user, []).append(item)
    return root / "run", {user: sequence[-1] for user, sequence in last.items()}


def test_the_test_items_are_the_last_of_the_raw_log(run, tmp_path):
    path, last = run
    result = export(path, format="rectools", output=tmp_path / "out")
    test = pq.read_table(tmp_path / "out" / "test")
    assert dict(zip(test["user_id"].to_pylist(), test["item_id"].to_pylist(), strict=True)) == last
    assert str(result).splitlines() == [
        "Exported for RecTools: 6 users; interactions: 24 train, 6 validation, 6 test.",
        f"  How to load it     {tmp_path}/out/README.md",
    ]
    assert next(iter(result.tables())) == [["interactions", ""], ("train", 24), ("validation", 6), ("test", 6)]


def test_a_message_counts_users_and_names_items_that_are_left_out(tmp_path):
    rows = [(f"u{user}", item, time) for user in range(3) for time, item in enumerate("abcdefg")] + [("u0", "NA", 2)]
    users, items, times = zip(*rows, ("once", "a", 1), strict=True)
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times}), tmp_path / "log.parquet")
    clean(interactions=tmp_path / "log.parquet", rules_only=True, hold_out=2, output=tmp_path / "run")
    text = str(export(tmp_path / "run", format="recbole", output=tmp_path / "out"))
    assert "Exported for RecBole: 3 users; interactions: 15 train, 3 validation, 3 test.\n" in text
    assert "Left out: 1 user (fewer than 2 interactions to train on beside those that are held out).\n" in text
    assert "Left out: 1 item (the library cannot hold the id: NA).\n" in text
    assert "once" not in text


def test_the_card_of_a_run_does_not_disturb_verification(run):
    path, _ = run
    assert (path / "README.md").read_text().startswith("---\nconfigs:\n- config_name: interactions\n  default: true\n")
    verify(path)


def test_what_cannot_be_exported_is_refused(run, tmp_path):
    path, _ = run
    with pytest.raises(UsageError):
        export(path, format="fortran", output=tmp_path / "out")
    with pytest.raises(InputError) as error:
        export(tmp_path, format="hf", output=tmp_path / "out")
    assert error.value.code == "OUTPUT-UNFINISHED"
    with pytest.raises(InputError) as error:
        export(path, format="hf", output=path)
    assert error.value.code == "OUTPUT-FOREIGN"
