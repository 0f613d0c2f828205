import pytest

from iadsr.models.core.errors import UsageError
from iadsr.models.core.file_urls import to_path
from iadsr.transforms.read.log_source import LogSource


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///data/log", "/data/log"),
        ("file://localhost/data/log", "/data/log"),
        ("file:/data/log", "/data/log"),
        ("file:///data/day=*/[ab]?.parquet", "/data/day=*/[ab]?.parquet"),
        ("file:///a%20b", "/a b"),
        ("/data/a%20b", "/data/a%20b"),
        ("files/log", "files/log"),
        ("gs://bucket/log", "gs://bucket/log"),
        ("", ""),
    ],
)
def test_a_file_url_is_a_path(url, path):
    assert to_path(url) == path
    assert LogSource(url).path == path


def test_a_name_with_a_percent_sign_is_found_as_it_is(tmp_path):
    (tmp_path / "day=a%2Fb").mkdir()
    assert to_path(f"file://{tmp_path}/day=a%2Fb") == f"{tmp_path}/day=a%2Fb"


@pytest.mark.parametrize("url", ["file://server/share/log", "file:log", "file:////server/log", "file:"])
def test_a_file_of_another_machine_is_refused(url):
    with pytest.raises(UsageError, match="no file of this machine") as error:
        to_path(url)
    assert error.value.code == "OPTION-FILE-URL"
