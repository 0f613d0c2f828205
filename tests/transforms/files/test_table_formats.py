import datetime
import decimal
import importlib
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.io import load_file_io
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table

from iadsr.models.core.errors import InputError
from iadsr.transforms.files import table_formats
from iadsr.transforms.files.found_files import FoundFiles, find_files
from iadsr.transforms.files.table_formats import TableVersion


def users(found: FoundFiles) -> list[str]:
    return sorted(
        user for file in found.files for user in pq.read_table(file.path, partitioning=None)["user"].to_pylist()
    )


def refusal(path) -> InputError:
    with pytest.raises(InputError) as error:
        find_files(str(path))
    return error.value


LOG = pa.table({"user": ["a", "b", "c"], "day": ["x y", "ä/1", None]})


def delta(folder: Path, **options) -> DeltaTable:
    write_deltalake(folder, LOG, **options)
    return DeltaTable(folder)


def test_deleted_rows_of_a_delta_table_stay_deleted_however_the_path_is_written(tmp_path, monkeypatch):
    delta(tmp_path / "made").delete("user = 'b'")
    write_deltalake(tmp_path / "made", LOG.slice(0, 1), mode="append")
    folder = tmp_path / "a b%20#?" / "log"
    shutil.move(tmp_path / "made", folder)
    monkeypatch.chdir(folder.parent)
    for path in (folder, f"{folder}/*.parquet", f"{folder}/**", tmp_path, "log", ".", "log/*"):
        found = find_files(str(path))
        assert users(found) == ["a", "a", "c"]
        assert [(table.format, table.version) for table in found.tables] == [("Delta Lake", "2")]
        assert "is a table of Delta Lake: version 2 is read" in found.notes[0]
        assert not found.left_out
    stale = next(path for path in folder.glob("*.parquet") if len(pq.read_table(path)) == 3)
    assert refusal(stale).code == "TABLE-EMPTY"


def test_columns_of_a_delta_table_that_are_in_no_file_come_from_its_log(tmp_path):
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
    columns = {
        "at": pa.array([at, None, at], pa.timestamp("us", "UTC")),
        "small": pa.array([1, None, -2], pa.int32()),
        "price": pa.array([decimal.Decimal("1.50"), None, None], pa.decimal128(5, 2)),
        "is_new": [True, False, None],
        "zip": ["01", "2", "3"],
    }
    log = pa.table({"user": LOG["user"], "day": LOG["day"], **columns})
    names = ["day", *columns]
    write_deltalake(tmp_path / "log", log, partition_by=names)
    found = find_files(str(tmp_path))
    assert users(found) == ["a", "b", "c"]
    assert found.partitions.equals(log.select(names).schema.remove_metadata())
    rows = {}
    for file in found.files:
        (user,) = pq.read_table(file.path, partitioning=None)["user"].to_pylist()
        values = dict(file.partitions)
        rows[user] = {f.name: pa.scalar(values[f.name], pa.string()).cast(f.type).as_py() for f in found.partitions}
    assert rows == {row.pop("user"): row for row in log.to_pylist()}
    folder = next(path for path in (tmp_path / "log").iterdir() if path.name.startswith("day=x"))
    assert users(find_files(str(folder))) == ["a"]


def test_a_delta_table_on_a_remote_file_system(tmp_path, store):
    delta(tmp_path / "log", partition_by=["day"]).delete("user = 'b'")
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        store.files[f"memory://b/{path.relative_to(tmp_path)}"] = path.read_bytes()
    for path in ("memory://b", "memory://b/log", "memory://b/log/*/*.parquet", "memory://b/log/**"):
        found = find_files(path)
        assert [dict(file.partitions)["day"] for file in found.files] == [None, "x y"]
        assert found.tables == (TableVersion("memory://b/log", "Delta Lake", "1"),)
    (one,) = find_files("memory://b/log/day=x%20y").files
    assert dict(one.partitions)["day"] == "x y"


def test_a_checkpoint_is_read_where_the_log_before_it_is_gone(tmp_path):
    table = delta(tmp_path / "log")
    table.delete("user = 'b'")
    table.create_checkpoint()
    for version in (0, 1):
        os.remove(tmp_path / "log" / "_delta_log" / f"{version:020d}.json")
    assert users(find_files(str(tmp_path))) == ["a", "c"]


def edit_delta_log(folder: Path, **changes: dict) -> None:
    """Changes entries of the actions in the first commit of a table."""
    path = folder / "_delta_log" / f"{0:020d}.json"
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        for name, values in changes.items():
            if name in action:
                action[name].update(values)
    path.write_text("\n".join(map(json.dumps, actions)))


def protocol(*features: str) -> dict:
    shared = {"readerFeatures": list(features), "writerFeatures": list(features)}
    return {"minReaderVersion": 3, "minWriterVersion": 7, **shared}


DELETED = {
    "storageType": "u",
    "pathOrInlineDv": "vBn[lx{q8@P<9BNH/isA",
    "offset": 1,
    "sizeInBytes": 36,
    "cardinality": 2,
}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"protocol": protocol("deletionVectors"), "add": {"deletionVector": DELETED}}, "deletion vectors"),
        (
            {
                "protocol": protocol("columnMapping"),
                "metaData": {"configuration": {"delta.columnMapping.mode": "name"}},
            },
            "col",
        ),
        ({"protocol": protocol("typeWidening")}, "typeWidening"),
        ({"protocol": protocol("deletionVectors", "timestampNtz", "columnMapping")}, None),
    ],
)
def test_what_a_list_of_files_cannot_say_of_a_delta_table_is_refused(tmp_path, changes, found):
    delta(tmp_path / "log")
    edit_delta_log(tmp_path / "log", **changes)
    if found is None:
        assert users(find_files(str(tmp_path))) == ["a", "b", "c"]
    else:
        error = refusal(tmp_path)
        assert error.code in ("TABLE-FEATURE", "TABLE-LOG")
        assert found in error.found


def test_a_table_that_lacks_files_or_a_part_of_its_log_is_refused(tmp_path):
    delta(tmp_path / "log")
    (data,) = (tmp_path / "log").glob("*.parquet")
    data.rename(tmp_path / "log" / "elsewhere.parquet")
    error = refusal(tmp_path)
    assert (error.code, data.name in error.found) == ("TABLE-FILES", True)
    os.remove(tmp_path / "log" / "_delta_log" / f"{0:020d}.json")
    (tmp_path / "log" / "_delta_log" / "notes.txt").touch()
    assert refusal(tmp_path).code == "TABLE-LOG"


def test_a_table_beside_plain_files_and_a_table_in_a_hidden_folder(tmp_path):
    delta(tmp_path / "log").delete("user = 'b'")
    pq.write_table(LOG, tmp_path / "plain.parquet")
    delta(tmp_path / "_old")
    assert users(find_files(str(tmp_path))) == ["a", "a", "b", "c", "c"]


@pytest.mark.parametrize(
    ("marker", "extra"), [("_delta_log/0.json", "delta"), ("metadata/v1.metadata.json", "iceberg")]
)
def test_without_its_library_a_table_is_refused_and_the_extra_is_named(tmp_path, monkeypatch, marker, extra):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(table_formats.importlib, "import_module", missing)
    path = tmp_path / "log" / marker
    path.parent.mkdir(parents=True)
    path.touch()
    error = refusal(tmp_path)
    assert error.code == "TABLE-EXTRA"
    assert error.fix == f"in a checkout of iadsr, pip install -c constraints.txt '.[{extra}]'"


@pytest.mark.parametrize("path", ["", "log", "log/2026/01", "log/2026/01/*"])
def test_a_hudi_table_is_refused_by_name(tmp_path, path):
    folder = tmp_path / "log" / "2026" / "01"
    folder.mkdir(parents=True)
    (tmp_path / "log" / ".hoodie").mkdir()
    (tmp_path / "log" / ".hoodie" / "hoodie.properties").touch()
    (folder / ".hoodie_partition_metadata").touch()
    pq.write_table(LOG, folder / "a.parquet")
    error = refusal(tmp_path / path)
    assert error.code == "TABLE-HUDI"
    assert "Apache Hudi" in error.what


class FolderCatalog(MetastoreCatalog):
    """Holds one Iceberg table. The metadata files in its folder are the commits: no database is needed."""

    def __init__(self, folder: Path):
        super().__init__("folder")
        self.folder = folder

    def create(self, schema: pa.Schema) -> Table:
        staged = self._create_staged_table(("db", "log"), schema, location=str(self.folder))
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        return self._open(staged.metadata_location)

    def commit_table(self, table, requirements, updates):
        staged = self._update_and_stage_table(table, ("db", "log"), requirements, updates)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        return CommitTableResponse(metadata=staged.metadata, metadata_location=staged.metadata_location)

    def load_namespace_properties(self, namespace):
        return {}

    def _open(self, location: str) -> Table:
        io = load_file_io({}, location)
        return Table(("db", "log"), FromInputFile.table_metadata(io.new_input(location)), location, io, self)


FolderCatalog.__abstractmethods__ = frozenset()  # the tests need no other method


def iceberg(folder: Path) -> Table:
    table = FolderCatalog(folder).create(LOG.schema)
    table.append(LOG)
    return table


def metadata(folder: Path) -> list[Path]:
    return sorted(folder.glob("metadata/*.metadata.json"))


def test_deleted_rows_of_an_iceberg_table_stay_deleted_however_the_path_is_written(tmp_path, monkeypatch):
    folder = tmp_path / "log"
    table = iceberg(folder)
    table.delete("user = 'b'")
    table.append(LOG.slice(0, 1))
    monkeypatch.chdir(tmp_path)
    version = str(table.current_snapshot().snapshot_id)
    for path in (folder, folder / "data", folder / "data" / "*.parquet", tmp_path, "log", metadata(folder)[-1]):
        found = find_files(str(path))
        assert users(found) == ["a", "a", "c"]
        assert [(table.format, table.version) for table in found.tables] == [("Apache Iceberg", version)]
        assert not found.left_out
    assert users(find_files(str(metadata(folder)[1]))) == ["a", "b", "c"]  # an earlier version
    (folder / "metadata" / "version-hint.text").write_text(metadata(folder)[1].name)
    assert users(find_files(str(folder))) == ["a", "b", "c"]


def test_partitions_of_an_iceberg_table_are_values_of_its_columns(tmp_path):
    table = iceberg(tmp_path / "log")
    with table.update_spec() as update:
        update.add_identity("day")
    table.overwrite(LOG)
    found = find_files(str(tmp_path))
    assert {dict(file.partitions)["day"] for file in found.files} == {None, "x y", "ä/1"}
    assert found.partitions.field("day").type in (pa.string(), pa.large_string())


def test_what_a_list_of_files_cannot_say_of_an_iceberg_table_is_refused(tmp_path):
    table = iceberg(tmp_path / "log")
    newest = metadata(tmp_path / "log")[-1]
    twin = newest.with_name(newest.name[:6] + "twin.metadata.json")
    shutil.copy(newest, twin)
    error = refusal(tmp_path)
    assert (error.code, "2 metadata files" in error.found) == ("TABLE-FEATURE", True)
    twin.unlink()
    with table.update_schema() as update:
        update.rename_column("day", "tag")
    error = refusal(tmp_path)
    assert (error.code, "'day' was renamed" in error.found) == ("TABLE-FEATURE", True)


def test_delete_files_of_an_iceberg_table_are_refused(tmp_path, monkeypatch):
    iceberg(tmp_path / "log")
    library = importlib.import_module("pyiceberg.table")
    original = library.DataScan.plan_files

    def plan_files(scan):
        tasks = list(original(scan))
        tasks[0].delete_files = {tasks[0].file}
        return tasks

    monkeypatch.setattr(library.DataScan, "plan_files", plan_files)
    error = refusal(tmp_path)
    assert (error.code, "delete files" in error.found) == ("TABLE-FEATURE", True)


def sink(folder: Path, batches: dict[str, list[tuple[str, str]]]) -> None:
    (folder / "_spark_metadata").mkdir(parents=True)
    for batch, entries in batches.items():
        lines = [
            json.dumps({"path": f"file:///old/place/log/{name}", "size": 1, "action": act}) for name, act in entries
        ]
        (folder / "_spark_metadata" / batch).write_text("\n".join(["v1", *lines]))
        for name, _ in entries:
            path = folder / name.replace("%2520", "%20")
            path.parent.mkdir(exist_ok=True)
            pq.write_table(pa.table({"user": [name]}), path)


def test_only_committed_files_of_a_streaming_sink_are_read(tmp_path):
    batches = {
        "0": [("gone.parquet", "add")],
        "1.compact": [("a.parquet", "add"), ("b.parquet", "add")],
        "2": [("day=x%2520y/c.parquet", "add"), ("b.parquet", "delete")],
    }
    sink(tmp_path / "log", batches)
    pq.write_table(LOG, tmp_path / "log" / "half.parquet")
    for path in (tmp_path, tmp_path / "log" / "**"):
        found = find_files(str(path))
        assert users(found) == ["a.parquet", "day=x%2520y/c.parquet"]
        assert [file.partitions for file in found.files] == [(), (("day", "x y"),)]
        assert [(table.format, table.version) for table in found.tables] == [("Spark streaming sink", "batch 2")]
    (tmp_path / "log" / "_spark_metadata" / "4").write_text("v1\n")
    assert refusal(tmp_path).code == "TABLE-LOG"  # batch 3 is missing


def test_a_long_log_of_a_streaming_sink_is_refused(tmp_path, monkeypatch):
    sink(tmp_path / "log", {"0": [("a.parquet", "add")]})
    monkeypatch.setattr(table_formats, "MAX_SINK_BYTES", 10)
    assert refusal(tmp_path).code == "TABLE-FEATURE"
