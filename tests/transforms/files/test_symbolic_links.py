import os

import pytest

from iadsr.models.core.errors import ArtifactError
from iadsr.transforms.files.symbolic_links import refuse_links


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model" / "vectors").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path / "model"


def test_files_and_directories_pass_and_the_directory_itself_may_be_a_link(model, tmp_path):
    (tmp_path / "current").symlink_to(model)
    refuse_links(str(model))
    refuse_links(str(tmp_path / "current"))
    refuse_links(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("place", ["weights", "vectors/part"])
def test_a_link_inside_is_refused_whether_its_target_is_there_or_not(model, place):
    (model / place).symlink_to("/etc/no-such-file")
    with pytest.raises(ArtifactError) as error:
        refuse_links(str(model))
    assert error.value.code == "ARTIFACT-LINK"
    assert error.value.found == "a symbolic link to /etc/no-such-file"


def test_a_link_to_a_directory_is_refused(model, tmp_path):
    (model / "more").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match="ARTIFACT-LINK"):
        refuse_links(str(model))


def test_a_pipe_is_refused(model):
    os.mkfifo(model / "weights")
    with pytest.raises(ArtifactError) as error:
        refuse_links(str(model))
    assert error.value.found == "neither a file nor a directory"
