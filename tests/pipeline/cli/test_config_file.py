import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.core.option import options_of
from iadsr.pipeline.cli.config_file import read_config
from iadsr.pipeline.commands.command_options import CleanOptions, DoctorOptions, EmbedOptions

OPTIONS = {"clean": CleanOptions, "doctor": DoctorOptions, "embed": EmbedOptions}


def read(tmp_path, command, text, written_for=None):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    others = options_of(OPTIONS[written_for]) if written_for else {}
    return read_config(path, command, options_of(OPTIONS[command]), others)


def test_names_take_dashes_or_underscores_and_beam_has_its_own_section(tmp_path):
    text = "drop-rate: 0.1\nuser_column: u\noverwrite: true\nshards: null\nbeam:\n  runner: DirectRunner\n"
    values, beam = read(tmp_path, "clean", text)
    assert values == {"drop_rate": 0.1, "user_column": "u", "overwrite": True, "shards": None}
    assert beam == {"runner": "DirectRunner"}


def test_text_columns_may_be_a_list(tmp_path):
    assert read(tmp_path, "embed", "text-columns: [title, category]")[0] == {"text_columns": "title,category"}
    with pytest.raises(InputError, match="a list of texts"):
        read(tmp_path, "embed", "text-columns: {title: category}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("threshold: yes", "gives threshold a value"),
        ("overwrite: 'false'", "gives overwrite a value"),
        ("interactions: [a, b]", "gives interactions a value"),
        ("min_length: {a: 1}", "gives min_length a value"),
        ("drop_rat: 0.1", "does not have"),
        ("- a", "is not a mapping"),
        ("beam: x", "is not a mapping"),
        ("a: [", "is not YAML"),
        ("drop_rate: 0.01\ndrop-rate: 0.2", "drop_rate is set twice"),
        ("beam: {runner: a, runner: b}", "runner is set twice"),
    ],
)
def test_what_an_option_does_not_take_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, "clean", text)


def test_a_file_of_another_commands_will_do_and_its_mistakes_are_told_all_the_same(tmp_path):
    values, _ = read(tmp_path, "doctor", "interactions: log\ndrop_rate: 0.1\nshards: 3", written_for="clean")
    assert values == {"interactions": "log", "shards": 3}
    for text, words in (("drop_rat: 0.1", "does not have"), ("overwrite: 'false'", "gives overwrite a value")):
        with pytest.raises(InputError, match=words):
            read(tmp_path, "doctor", text, written_for="clean")


def test_the_settings_of_an_engine_stand_under_it(tmp_path):
    text = "engine:\n  address: spark://h\n  spark.executor.memory: 4g\n  a-b: [1, x]\n  c: true\n  d: null\n"
    values, _ = read(tmp_path, "clean", text)
    assert values == {"engine": "spark://h", "engine_options": ("spark.executor.memory=4g", "a-b=1,x", "c=true")}
    assert read(tmp_path, "clean", "engine: prism")[0] == {"engine": "prism"}
    assert read(tmp_path, "clean", "engine: {a: 1}")[0] == {"engine_options": ("a=1",)}


@pytest.mark.parametrize(
    "text", ["engine: {a: {b: 1}}", "engine: {a: [[1]]}", "engine: {a: 1}\nengine_options: [b=1]", "engine: [prism]"]
)
def test_an_engine_is_a_text_or_a_mapping_of_plain_values(tmp_path, text):
    with pytest.raises(InputError) as error:
        read(tmp_path, "clean", text)
    assert error.value.code in ("CONFIG-ENGINE", "CONFIG-VALUE")
