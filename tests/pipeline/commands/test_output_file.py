import errno
import os
import tempfile
from pathlib import Path

import pytest

from iadsr.models.core.errors import UsageError
from iadsr.pipeline.commands.output_file import check_output_file


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    check_output_file(tmp_path / "figures.json", "JSON")
    with pytest.raises(UsageError, match="is a directory"):
        check_output_file(tmp_path, "JSON")
    with pytest.raises(UsageError, match="is not a directory"):
        check_output_file(tmp_path / "missing" / "figures.json", "JSON")
    (tmp_path / "link.json").symlink_to(tmp_path / "figures.json")
    for device in (tmp_path / "link.json", Path(os.devnull)):
        with pytest.raises(UsageError, match="is a link or a device"):
            check_output_file(device, "JSON")
    with pytest.raises(UsageError, match="File name too long"):
        check_output_file(tmp_path / ("x" * 300), "JSON")
    assert [path.name for path in tmp_path.iterdir()] == ["link.json"]


def test_a_directory_that_may_not_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch):
    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(UsageError, match="Read-only file system"):
        check_output_file(tmp_path / "figures.json", "JSON")
