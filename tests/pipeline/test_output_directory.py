import pytest

from iadsr.models.errors import InputError
from iadsr.pipeline.output_directory import refuse_inside


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("log/out", "log"),
        ("log/deep/out", "log/"),
        ("log/out", "log/**.parquet"),
        ("log", "log/**.parquet"),
        ("log/out", "log/**/part-*.parquet"),
        ("out", "**.parquet"),
        ("gs://bucket/log/out", "gs://bucket/log"),
    ],
)
def test_an_output_that_the_next_run_would_read_is_refused(output, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="lies inside the input"):
        refuse_inside(output, source)


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("out", "log"),
        ("log-cleaned", "log"),
        ("log/out", "log/*.parquet"),  # which does not look into folders
        ("log/out", "log/a.parquet"),
        ("logs/out", "log/**.parquet"),
        ("gs://bucket/cleaned", "gs://bucket/log"),
    ],
)
def test_an_output_beside_the_input_is_not(output, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_inside(output, source)
