"""The output of a command shows no user's id and no row, whether the command succeeds or fails."""

import logging
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.pipeline.cli import app as cli
from iadsr.transforms.judge import score_shards as scoring
from iadsr.transforms.write import shards as writing

SECRET = "secret-user"


@pytest.fixture
def log(world) -> pa.Table:
    table = world.log()
    users = [f"{SECRET}-{user}" for user in table["user_id"].to_pylist()]
    return table.set_column(0, "user_id", pa.array(users)).append_column("note", pa.array([SECRET] * len(table)))


@pytest.fixture
def command(world, tmp_path, monkeypatch, capfd):
    """Runs a command as `iadsr` does, but in this process. Returns its exit code and all that it wrote."""

    def command(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["iadsr", *map(str, arguments)])
        handlers, level = logging.root.handlers[:], logging.root.level
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            logging.root.handlers[:], logging.root.level = handlers, level
        written = capfd.readouterr()
        return ended.value.code or 0, written.out + written.err

    return command


def clean(world, tmp_path) -> list[str]:
    paths = {"interactions": tmp_path / "log.parquet", "output": tmp_path / "out"}
    paths |= {"embeddings": world.embeddings, "model": world.model}
    return ["clean", *(f"--{name}={path}" for name, path in paths.items())]


def test_a_good_run_tells_counts_only(world, tmp_path, log, command):
    pq.write_table(log, tmp_path / "log.parquet")
    code, written = command(*clean(world, tmp_path))
    assert code == 0
    assert "interactions" in written
    assert SECRET not in written
    for name in ("manifest.json", "report.html"):
        assert SECRET not in (tmp_path / "out" / name).read_text()
    code, written = command("verify", tmp_path / "out")
    assert code == 0
    assert SECRET not in written


def with_unusable_rows(log: pa.Table, share: float) -> pa.Table:
    items = [None if row < share * len(log) else item for row, item in enumerate(log["item_id"].to_pylist())]
    return log.set_column(1, "item_id", pa.array(items, pa.string()))


def test_rows_that_cannot_be_used_are_counted_and_not_shown(world, tmp_path, log, command):
    for share, words in ((0.5, "ROWS-REJECTED"), (1.0, "ROWS-NONE")):
        pq.write_table(with_unusable_rows(log, share), tmp_path / "log.parquet")
        code, written = command(*clean(world, tmp_path))
        assert code == 1
        assert words in written
        assert SECRET not in written
    assert SECRET in str(pq.read_table(tmp_path / "out" / "rejected")["row"][0])  # where it belongs


def test_a_damaged_file_is_named_without_what_is_in_it(world, tmp_path, log, command):
    pq.write_table(log, tmp_path / "log.parquet", compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "log.parquet").read_bytes())
    data[4:40] = b"\xff" * 36
    (tmp_path / "log.parquet").write_bytes(data)
    code, written = command(*clean(world, tmp_path))
    assert code == 1
    assert "LOG-PAGES" in written
    assert SECRET not in written


@pytest.mark.parametrize("error", [KeyError, ValueError, pa.ArrowInvalid])
@pytest.mark.parametrize(("module", "name"), [(scoring, "score_shard"), (writing, "cleaned_sequences")])
def test_an_error_that_we_did_not_foresee_is_named_without_its_text(
    world, tmp_path, log, command, monkeypatch, module, name, error
):
    def fail(*arguments, **named):
        raise error(f"{SECRET}-7 is not in the index")

    monkeypatch.setattr(module, name, fail)
    pq.write_table(log, tmp_path / "log.parquet")
    code, written = command(*clean(world, tmp_path))
    assert code == 4
    assert "IADSR-BUG" in written
    assert error.__name__ in written
    assert SECRET not in written
    assert "Traceback" not in written
