from contextlib import suppress

import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.files.listing import list_files
from iadsr.transforms.run.output_directory import refuse_inside

WRITES = ["manifest.json", "deep/part-00000.parquet"]


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("log/out", "log"),
        ("log/deep/out", "log/"),
        ("log/out", "log/**.parquet"),
        ("log", "log/**.parquet"),
        ("log/out", "log/**/part-*.parquet"),
        ("log/out", "log/*/*/*.parquet"),
        ("log/out", "lo?/[n-p]*/deep/"),
        ("log/out", "log/*/*"),
        ("out", "**.parquet"),
        ("out", "*/*/*.parquet"),
    ],
)
def test_an_output_that_the_next_run_would_read_is_refused(output, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="lies inside the input"):
        refuse_inside(output, source, WRITES)
    for name in WRITES:
        (tmp_path / output / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / output / name).touch()
    assert list_files(source)


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("out", "log"),
        ("log-cleaned", "log"),
        ("log/out", "log/*.parquet"),  # which does not look into folders
        ("log/out", "log/*/*.parquet"),  # not as deep as what is written
        ("log/out", "log/day-*/*/*.parquet"),
        ("log/_out", "log/*/*/*.parquet"),
        ("log/out", "log/a.parquet"),
        ("logs/out", "log/**.parquet"),
    ],
)
def test_an_output_beside_the_input_is_not(output, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_inside(output, source, WRITES)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.parquet").touch()
    for name in WRITES:
        (tmp_path / output / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / output / name).touch()
    found = []
    with suppress(InputError):  # nothing at all
        found = [file.path for file in list_files(source).files]
    assert not any(path.startswith(f"{output}/") for path in found)


def test_places_on_a_remote_file_system_are_compared_as_they_are_spelled():
    for source in ("gs://bucket/log", "gs://bucket/log/**.parquet", "gs://bucket/*/out/*/*.parquet"):
        with pytest.raises(InputError, match="lies inside the input"):
            refuse_inside("gs://bucket/log/out", source, WRITES)
        refuse_inside("gs://bucket/cleaned", source, WRITES)


def test_a_glob_below_a_folder_with_the_characters_of_one_is_told_apart(tmp_path, monkeypatch):
    (tmp_path / "day[1]").mkdir()
    monkeypatch.chdir(tmp_path / "day[1]")
    with pytest.raises(InputError, match="lies inside the input"):
        refuse_inside("log/out", "log/*/*/*.parquet", WRITES)
    refuse_inside("out", "log/*/*/*.parquet", WRITES)
