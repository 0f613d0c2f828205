"""`iadsr verify` finds what somebody did to a finished run; each test does something to a copy of one."""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import ArtifactError, ConservationError, IadsrError, InputError
from iadsr.pipeline import clean
from iadsr.pipeline.commands.messages import describe_verification
from iadsr.transforms.files.tables import describe_file
from iadsr.transforms.run.verification import verify_output


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory) -> Path:
    """A run over a log with unusable rows, in three shards, beside the log."""
    root = tmp_path_factory.mktemp("finished")
    log = world.log()
    users = log["user_id"].to_pylist()
    users[7], users[600], users[601] = None, "", None
    log = log.set_column(0, "user_id", pa.array(users))
    (root / "log").mkdir()
    pq.write_table(log.slice(0, 500), root / "log" / "a.parquet", row_group_size=100)
    pq.write_table(log.slice(500), root / "log" / "b.parquet")
    paths = {"interactions": root / "log", "embeddings": world.embeddings, "model": world.model}
    clean(**paths, output=root / "out", drop_rate=0.05, shards=3)
    return root


@pytest.fixture
def run(finished, tmp_path) -> Path:
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"


def rewrite(path: Path, table: pa.Table) -> None:
    """Writes a table in a file's place, and its new fingerprint into the manifest."""
    pq.write_table(table, path)
    manifest = path.parents[1] / "manifest.json"
    content = json.loads(manifest.read_text())
    name = f"{path.parent.name}/{path.name}"
    (entry,) = (file for file in content["outputs"] if file["path"] == name)
    found = describe_file(str(path))
    entry.update(rows=found.rows, size=found.size, sha256=found.sha256)
    manifest.write_text(json.dumps(content))


def change_manifest(run: Path, change) -> None:
    content = json.loads((run / "manifest.json").read_text())
    change(content)
    (run / "manifest.json").write_text(json.dumps(content))


def shard(run: Path, folder: str = "interactions") -> Path:
    return sorted((run / folder).glob("*.parquet"))[0]


def test_a_finished_run_is_found_whole_and_held_against_its_input(finished):
    verified = verify_output(str(finished / "out"))
    assert verified.rows.read == 3200
    assert verified.rows.rejected == 3
    assert verified.files == 11  # three shards of three kinds, two files of rejected rows
    assert (verified.users, verified.inputs, verified.inputs_compared) == (400, 2, 2)
    text = describe_verification(verified, "out")
    assert "3,200 rows read" in text
    assert "Compared with all input files." in text


def test_the_manifest_counts_every_row_by_file(finished):
    manifest = json.loads((finished / "out" / "manifest.json").read_text())
    for file, read, rejected in zip(manifest["files"], (500, 2700), (1, 2), strict=True):
        assert (file["read"], file["rejected"]) == (read, rejected)
        assert file["kept"] + file["dropped"] + file["rejected"] == read
    assert sum(file["dropped"] for file in manifest["files"]) == manifest["rows"]["dropped"] > 0


def test_inputs_that_are_gone_or_changed_are_passed_over_but_not_all_of_them(finished, run, tmp_path):
    (tmp_path / "log").mkdir()
    shutil.copy(finished / "log" / "a.parquet", tmp_path / "log")  # another time of change
    change_manifest(
        run, lambda m: [file.update(path=file["path"].replace(str(finished), str(tmp_path))) for file in m["files"]]
    )
    for folder in (run / "rejected").glob("*"):
        table = pq.read_table(folder)
        paths = pc.replace_substring(table["file"], str(finished), str(tmp_path)).combine_chunks()
        rewrite(folder, table.set_column(0, table.schema.field(0), paths))
    with pytest.raises(InputError, match="none of its input files could be compared") as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-NO-INPUT"
    times = os.stat(finished / "log" / "a.parquet")
    os.utime(tmp_path / "log" / "a.parquet", ns=(times.st_atime_ns, times.st_mtime_ns))
    verified = verify_output(str(run))
    assert verified.inputs_compared == 1
    assert "Compared with 1 of 2 input files; the others no longer exist" in describe_verification(verified, str(run))


def test_relative_inputs_are_found_from_another_directory(world, finished, tmp_path, monkeypatch):
    for day in ("2026-11-23", "2026-11-24"):
        (tmp_path / "log" / f"day={day}").mkdir(parents=True)
        shutil.copy(finished / "log" / "a.parquet", tmp_path / "log" / f"day={day}" / "a.parquet")
    monkeypatch.chdir(tmp_path)
    clean(
        interactions="log",
        embeddings=f"file://{world.embeddings}",
        model=world.model,
        output=f"file://{tmp_path}/out",
        max_rejected=1.0,
    )
    monkeypatch.chdir("/")
    assert verify_output(str(tmp_path / "out")).inputs_compared == 2
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["directory"] == str(tmp_path)
    assert manifest["notes"] == ["From the names of folders: day (date32[day])."]
    assert [file["path"] for file in manifest["files"]] == [f"log/day=2026-11-{day}/a.parquet" for day in (23, 24)]
    written = pq.read_table(tmp_path / "out" / "interactions", columns=["day"], partitioning=None)
    assert written["day"].value_counts().field("counts").to_pylist() == [499, 499]
    (tmp_path / "log").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="none of its input files"):
        verify_output(str(tmp_path / "out"))


def test_a_run_over_ids_in_the_names_of_folders_is_held_against_them(world, tmp_path):
    log = world.log()
    for user in log["user_id"].unique().to_pylist()[:30]:
        folder = tmp_path / "log" / f"user_id={user}"
        folder.mkdir(parents=True)
        rows = log.filter(pc.equal(log["user_id"], user)).drop_columns(["user_id"])
        pq.write_table(rows, folder / "a.parquet")
    clean(interactions=tmp_path / "log", embeddings=world.embeddings, model=world.model, output=tmp_path / "out")
    verified = verify_output(str(tmp_path / "out"))
    assert (verified.users, verified.inputs, verified.inputs_compared) == (30, 30, 30)
    moved = next((tmp_path / "log").iterdir())
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["path"].startswith(f"{moved}/"):
            file["partitions"] = {"user_id": "somebody else"}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConservationError, match="not those of the input"):
        verify_output(str(tmp_path / "out"))


def test_inputs_that_cannot_be_asked_for_are_passed_over_and_it_says_so(finished, run, monkeypatch):
    stat = os.stat

    def refuse(path, **settings):
        if str(path).endswith("a.parquet"):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **settings)

    monkeypatch.setattr(os, "stat", refuse)
    verified = verify_output(str(run))
    assert verified.inputs_compared == 1
    assert "Compared with 1 of 2 input files; the others no longer exist" in describe_verification(verified, str(run))


def test_an_unfinished_or_empty_directory_is_told_apart(run, tmp_path):
    (run / "manifest.json").unlink()
    for directory in (run, tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="holds no finished run") as error:
            verify_output(str(directory))
        assert error.value.code == "OUTPUT-UNFINISHED"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format_version": 1}', "[" * 100_000, '{"format_version": 7}'])
def test_a_damaged_manifest_is_an_error_of_ours(run, text):
    (run / "manifest.json").write_text(text)
    with pytest.raises(IadsrError):
        verify_output(str(run))


@pytest.mark.parametrize("folder", ["interactions", "sequences", "users", "rejected"])
def test_missing_added_and_changed_files_are_found(run, folder):
    path = shard(run, folder)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(ArtifactError, match="differ from the manifest") as error:
        verify_output(str(run))
    assert "is missing" in str(error.value)
    path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    with pytest.raises(ArtifactError, match="has changed since it was written"):
        verify_output(str(run))
    path.write_bytes(content)
    shutil.copy(path, path.with_name("part-99999.parquet"))
    with pytest.raises(ArtifactError, match="differ from the manifest") as error:
        verify_output(str(run))
    assert "is not in the manifest" in str(error.value)


def without_a_row(table):
    return table.slice(1)


def with_a_row_twice(table):
    return pa.concat_tables([table.slice(0, 1), table])


def in_another_order(table):
    return table.take(pa.array([1, 0, *range(2, len(table))]))


def with_another_item(table):
    items = table["item_id"].to_pylist()
    items[0] = "item-39" if items[0] != "item-39" else "item-38"
    return table.set_column(1, "item_id", pa.array(items))


def with_another_keep(table):
    keep = table["keep"].to_pylist()
    field = table.schema.get_field_index("keep")
    return table.set_column(field, table.schema.field(field), pa.array([not keep[0], *keep[1:]]))


def with_a_wild_weight(table):
    field = table.schema.get_field_index("weight")
    return table.set_column(field, table.schema.field(field), pa.array([float("nan")] * len(table), pa.float32()))


def without_a_column(table):
    return table.drop_columns(["short_term_similarity"])


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        (without_a_row, IadsrError, "VERIFY"),
        (with_a_row_twice, IadsrError, "VERIFY"),
        (in_another_order, ArtifactError, "VERIFY-CONTENT"),
        (with_another_item, IadsrError, "VERIFY"),
        (with_another_keep, ArtifactError, "VERIFY-CONTENT"),
        (with_a_wild_weight, ArtifactError, "VERIFY-CONTENT"),
        (without_a_column, ArtifactError, "VERIFY-CONTENT"),
    ],
)
def test_interactions_that_were_changed_together_with_their_fingerprint_are_found(run, change, kind, code):
    path = shard(run)
    rewrite(path, change(pq.read_table(path)))
    with pytest.raises(kind) as error:
        verify_output(str(run))
    assert error.value.code.startswith(code)


@pytest.mark.parametrize("column", ["user_id", "item_ids", "timestamps", "weights"])
def test_a_sequence_that_is_not_the_kept_interactions_is_found(run, column):
    path = shard(run, "sequences")
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[0], values[1] = values[1], values[0]
    field = table.schema.get_field_index(column)
    rewrite(path, table.set_column(field, table.schema.field(field), pa.array(values, table.schema.field(field).type)))
    with pytest.raises(ArtifactError, match="is not as `iadsr clean` writes it"):
        verify_output(str(run))


@pytest.mark.parametrize("change", [without_a_row, with_a_row_twice, in_another_order])
def test_users_that_are_not_those_of_the_interactions_are_found(run, change):
    path = shard(run, "users")
    rewrite(path, change(pq.read_table(path)))
    with pytest.raises(ArtifactError, match="the list of users") as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-CONTENT"


@pytest.mark.parametrize("column", ["user_id", "first", "last", "interactions", "kept"])
def test_a_user_that_is_not_described_as_the_interactions_say_is_found(run, column):
    path = shard(run, "users")
    table = pq.read_table(path)
    field = table.schema.field(column)
    values = table[column].to_pylist()
    values[2] = f"{values[2]}x" if column == "user_id" else values[2] + 1
    rewrite(path, table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type)))
    with pytest.raises(ArtifactError, match="is not as `iadsr clean` writes it") as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-CONTENT"


@pytest.fixture(scope="module")
def crawled(world, tmp_path_factory) -> Path:
    """A run whose log has a crawler, who is dropped, and a user who is none, who is counted."""
    root = tmp_path_factory.mktemp("crawled")
    log = world.log()
    start = 1_700_000_000
    log = log.set_column(2, "timestamp", pa.array(range(start, start + 3600 * len(log), 3600)))
    odd = pa.table(
        {
            "user_id": ["crawler"] * 70 + ["nan"] * 3,
            "item_id": log["item_id"][:73],
            "timestamp": pa.array(range(start, start + 73)),
            "rating": log["rating"][:73],
        }
    )
    pq.write_table(pa.concat_tables([log, odd.cast(log.schema)]), root / "log.parquet")
    paths = {"interactions": root / "log.parquet", "embeddings": world.embeddings, "model": world.model}
    clean(**paths, output=root / "out", drop_rate=0.05)
    return root / "out"


@pytest.mark.parametrize(
    ("column", "user", "value"),
    [
        ("span_seconds", "crawler", 68.0),
        ("active_days", "crawler", 2),
        ("interactions_per_active_day", "crawler", 71.0),
        ("share_of_repeats", "crawler", 0.0),
        ("coherence", "user-001", 0.001),
        ("coherence", "crawler", 0.5),
        ("verdict", "crawler", "kept"),
        ("verdict", "nan", "shortened"),
        ("verdict", "user-001", "suspect"),
        ("reason", "crawler", None),
        ("reason", "crawler", "shared_list"),
        ("reason", "nan", "machine"),
        ("reason", "user-001", "core"),
        ("reason", "user-001", "machine"),
        ("reason", "user-001", "shared_account"),
    ],
)
def test_what_is_said_of_a_user_is_held_against_the_interactions(crawled, tmp_path, column, user, value):
    run = tmp_path / "out"
    shutil.copytree(crawled, run)
    verify_output(str(run))
    path = shard(run, "users")
    table = pq.read_table(path)
    values, field = table[column].to_pylist(), table.schema.field(column)
    place = table["user_id"].to_pylist().index(user)
    assert values[place] != value
    values[place] = value
    rewrite(path, table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type)))
    with pytest.raises(ArtifactError, match=f"{column} is not as `iadsr clean` writes it") as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-CONTENT"


def test_users_without_a_column_or_with_one_of_another_type_are_found(run):
    path = shard(run, "users")
    table = pq.read_table(path)
    rewrite(path, table.drop_columns(["verdict"]))
    with pytest.raises(ArtifactError, match="the schema"):
        verify_output(str(run))
    rewrite(path, table.set_column(table.schema.get_field_index("kept"), "kept", table["kept"].cast(pa.string())))
    with pytest.raises(ArtifactError, match="the schema"):
        verify_output(str(run))


def test_a_run_of_rules_alone_is_whole_and_held_to_what_such_a_run_writes(world, tmp_path):
    output = tmp_path / "out"
    clean(interactions=world.interactions, rules_only=True, output=output, last_interactions=4, shards=3)
    verified = verify_output(str(output))
    assert (verified.rows.read, verified.rows.kept, verified.users) == (3200, 1600, 400)
    path = shard(output)
    table = pq.read_table(path)
    rewrite(path, table.append_column("noise_probability", pa.array([0.5] * len(table), pa.float32())))
    with pytest.raises(ArtifactError, match="the schema"):
        verify_output(str(output))


def test_an_item_exchanged_everywhere_is_found_by_the_input_alone(run):
    for folder, column in (("interactions", "item_id"), ("sequences", "item_ids")):
        for path in (run / folder).glob("*.parquet"):
            table = pq.read_table(path)
            field = table.schema.get_field_index(column)
            rows = table[column].to_pylist()
            swap = {"item-01": "item-01b"}
            changed = [[swap.get(i, i) for i in row] if isinstance(row, list) else swap.get(row, row) for row in rows]
            rewrite(
                path, table.set_column(field, table.schema.field(field), pa.array(changed, table.schema[field].type))
            )
    with pytest.raises(ConservationError, match="are not those of the input"):
        verify_output(str(run))


@pytest.mark.parametrize("count", ["read", "kept", "dropped", "rejected"])
def test_counts_that_do_not_add_up_are_found_in_total_and_by_file(run, count):
    change_manifest(run, lambda m: m["rows"].update({count: m["rows"][count] + 1}))
    with pytest.raises(ConservationError):
        verify_output(str(run))
    change_manifest(run, lambda m: m["rows"].update({count: m["rows"][count] - 1}))
    change_manifest(run, lambda m: m["files"][0].update({count: m["files"][0][count] + 1}))
    with pytest.raises(ConservationError):
        verify_output(str(run))


def test_counts_shifted_from_one_file_to_another_are_found(run):
    def shift(manifest):
        manifest["files"][0]["read"] -= 1
        manifest["files"][0]["kept"] -= 1
        manifest["files"][1]["read"] += 1
        manifest["files"][1]["kept"] += 1

    change_manifest(run, shift)
    with pytest.raises(ConservationError, match="number of rows in"):
        verify_output(str(run))


def test_a_path_in_the_manifest_that_leads_outside_is_refused(run):
    os.makedirs(run.parent / "elsewhere")
    change_manifest(run, lambda m: m["outputs"][0].update(path="interactions/../../elsewhere/x.parquet"))
    with pytest.raises(ArtifactError, match="manifest"):
        verify_output(str(run))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("outputs", 0, "rows"), "7"),
        (("outputs", 0, "rows"), True),
        (("outputs", 0, "size"), 1.5),
        (("outputs", 0, "sha256"), None),
        (("outputs", 0, "path"), "interactions/\ud800"),
        (("outputs",), []),
        (("files", 0, "bytes"), "7"),
        (("files", 0, "changed_at"), "now"),
        (("files", 0, "path"), "\ud800"),
        (("reasons", "rejected", "null user_id"), "2"),
        (("reasons", "rejected", "null user_id"), None),
        (("reasons", "rejected"), [2]),
        (("options", "columns", "user"), ["a"]),
        (("options", "columns", "item"), None),
        (("options", "columns", "timestamp"), 7),
        (("options", "columns", "position"), {"a": 1}),
        (("options", "columns", "position"), 7),
        (("options", "columns"), None),
        (("options", "added_columns"), ["weight"]),
        (("options", "added_columns"), {"weight": "weight"}),
        (("options", "added_columns", "weight"), 7),
        (("options", "added_columns", "wait"), "w"),
        (("options",), []),
    ],
)
def test_a_manifest_with_an_entry_of_another_type_is_refused(run, place, value):
    def change(manifest):
        *way, last = place
        for step in way:
            manifest = manifest[step]
        manifest[last] = value

    change_manifest(run, change)
    with pytest.raises(ArtifactError) as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-MANIFEST"


@pytest.mark.parametrize("part", ["user", "item", "timestamp", "position"])
def test_a_column_that_the_manifest_names_and_the_output_lacks_is_found(run, part):
    change_manifest(run, lambda m: m["options"]["columns"].update({part: "nobody"}))
    with pytest.raises(ArtifactError, match="has no column 'nobody'") as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-CONTENT"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda m: m.update(weightless=m["weightless"] + 1), "interactions kept that weigh 0"),
        (lambda m: m["users"].update(shared_accounts=m["users"]["shared_accounts"] + 1), "shared accounts"),
    ],
)
def test_counts_of_the_manifest_are_counted_again(run, change, what):
    change_manifest(run, change)
    with pytest.raises(ConservationError, match=what):
        verify_output(str(run))


def test_counts_that_an_older_version_did_not_make_are_not_compared(run):
    change_manifest(run, lambda m: (m.pop("weightless"), m["users"].pop("shared_accounts")))
    verify_output(str(run))


def test_a_column_of_the_log_with_the_name_of_an_added_one_is_found(run):
    for path in (run / "interactions").iterdir():
        table = pq.read_table(path)
        rewrite(path, table.rename_columns(["keep" if name == "rating" else name for name in table.column_names]))
    with pytest.raises(ArtifactError, match="the schema is not as"):
        verify_output(str(run))


def test_names_of_added_columns_that_the_output_lacks_are_found(run):
    change_manifest(run, lambda m: m["options"]["added_columns"].update(weight="heft"))
    with pytest.raises(ArtifactError, match="the schema is not as") as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-CONTENT"


def with_column(name, change):
    def apply(table):
        return table.set_column(table.schema.get_field_index(name), name, change(table[name]))

    return apply


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["user_id"]),
        lambda table: table.rename_columns(["item_id", *table.column_names[1:]]),
        with_column("user_id", lambda users: pa.nulls(len(users), pa.string())),
        with_column("item_id", lambda items: pa.nulls(len(items), pa.string())),
        with_column("item_id", lambda items: pa.array([1.5] * len(items))),
        with_column("timestamp", lambda times: pa.nulls(len(times), pa.int64())),
        with_column("timestamp", lambda times: pa.array(["noon"] * len(times))),
        with_column("timestamp", lambda times: pa.array([b"noon"] * len(times))),
        with_column("keep", lambda keep: pa.nulls(len(keep), pa.bool_())),
    ],
)
def test_interactions_without_the_columns_of_a_log_are_found(run, change):
    for path in (run / "interactions").iterdir():  # all of them, so that they agree with one another
        rewrite(path, change(pq.read_table(path)))
    with pytest.raises(ArtifactError) as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-CONTENT"


@pytest.mark.parametrize("column", ["user_id", "item_ids", "timestamps", "weights"])
def test_a_column_of_sequences_of_another_type_is_found(run, column):
    path = shard(run, "sequences")
    rewrite(path, with_column(column, lambda values: pa.array(["x"] * len(values)))(pq.read_table(path)))
    with pytest.raises(ArtifactError, match=f"{column if column != 'user_id' else 'users'} is not as"):
        verify_output(str(run))


def test_an_input_that_lacks_a_column_of_the_output_is_an_error_of_ours(finished, run):
    """The output's user column under another name, and the manifest with it."""
    for path in (run / "interactions").iterdir():
        table = pq.read_table(path)
        rewrite(path, table.rename_columns(["customer", *table.column_names[1:]]))
    change_manifest(run, lambda m: m["options"]["columns"].update(user="customer"))
    with pytest.raises(InputError, match="can no longer be read with the columns of this output") as error:
        verify_output(str(run))
    assert error.value.code == "VERIFY-INPUT"
