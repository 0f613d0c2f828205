import pytest
from typer.main import get_command

from iadsr.models.errors import InputError
from iadsr.pipeline.cli import app
from iadsr.pipeline.config import read_config


@pytest.fixture
def command():
    return get_command(app).commands["clean"]


def read(tmp_path, command, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return read_config(path, command)


def test_dashes_and_underscores_name_the_same_option(tmp_path, command):
    values, beam = read(tmp_path, command, "drop-rate: 0.1\nmin_length: 3\noverwrite: true\n")
    assert values == {"drop_rate": 0.1, "min_length": 3, "overwrite": True}
    assert beam == {}


def test_beam_has_a_section_of_its_own(tmp_path, command):
    assert read(tmp_path, command, "beam:\n  runner: X\n") == ({}, {"runner": "X"})
    assert read(tmp_path, command, "beam:\n") == ({}, {})
    assert read(tmp_path, command, "") == ({}, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "not a mapping"),
        ("a: [\n", "not YAML"),
        ("beam: fast\n", "'beam'"),
        ("dropp_rate: 1\n", "did you mean drop_rate"),
        ("runner: X\n", "belong under beam:"),
        ("config: other.yaml\n", "does not have"),
        ("output: !!python/object/apply:os.getcwd []\n", "not YAML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, command, text, words):
    with pytest.raises(InputError) as error:
        read(tmp_path, command, text)
    assert words in str(error.value)
    assert "c.yaml" in str(error.value)


def test_a_missing_file_is_an_input_error(tmp_path, command):
    with pytest.raises(InputError, match="Cannot read the configuration"):
        read_config(tmp_path / "none.yaml", command)
