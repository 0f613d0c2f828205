"""The command line, configuration files, the Python API and the flex template agree on the options of `clean`."""

import inspect
from typing import Any

import pytest
import typer
from typer.main import get_command

from iadsr.models.core.errors import UsageError
from iadsr.models.core.option import PANELS, options_of
from iadsr.pipeline import clean
from iadsr.pipeline.cli.app import app
from iadsr.pipeline.cli.config_file import read_config
from iadsr.pipeline.cli.template_parameters import LEFT_OUT, describe_template
from iadsr.pipeline.cli.typer_commands import add_command
from iadsr.pipeline.commands.command_options import CleanOptions, EmbedOptions, VerifyOptions
from iadsr.pipeline.engines.beam_flags import known_flags
from iadsr.transforms.contract.added_columns import AddedColumns

COMMANDS: dict[str, Any] = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
PARAMETERS = {parameter.name: parameter for parameter in COMMANDS["clean"].params}
TEMPLATE = {parameter["name"]: parameter for parameter in describe_template()["parameters"]}


@pytest.fixture
def run(capsys):
    """Parses a command line; returns the options, and the flags that go to Beam."""

    def run(options_class, *arguments: str):
        called = []
        small = typer.Typer()
        small.callback()(lambda: None)
        add_command(small, "it", "Help.", options_class, lambda options, flags, own: called.append((options, flags)))
        small(["it", *arguments], standalone_mode=False)
        return called[0]

    return run


PATHS = ("--interactions=i", "--embeddings=e", "--model=m", "--output=o")


@pytest.mark.parametrize("name", options_of(CleanOptions))
def test_every_option_of_clean_is_known_everywhere_by_name_help_and_default(name, tmp_path):
    option = options_of(CleanOptions)[name]
    parameter = PARAMETERS[name]
    assert parameter.opts == [option.flag]
    assert (parameter.help, parameter.rich_help_panel) == (option.help, option.panel)
    assert parameter.required == option.required
    assert option.required or parameter.default == option.default
    assert str(option.range) in (parameter.metavar or "")
    assert name in inspect.signature(clean).parameters
    if name not in LEFT_OUT:
        assert TEMPLATE[name]["helpText"].startswith(option.help)
    (tmp_path / "c.yaml").write_text(f"{name}: {'true' if option.type is bool else 'x'}\n")
    values, _ = read_config(tmp_path / "c.yaml", "clean", options_of(CleanOptions), {})
    assert list(values) == [name]


def test_no_option_of_clean_is_declared_elsewhere():
    declared = set(options_of(CleanOptions))
    assert set(PARAMETERS) == {*declared, "config", "log_format", "verbose"}
    assert set(TEMPLATE) == {*declared - LEFT_OUT, "sdk_container_image"}
    assert {option.panel for option in options_of(CleanOptions).values()} <= set(PANELS)


def test_no_option_of_ours_is_taken_from_beam():
    ours = {flag for command in COMMANDS.values() for parameter in command.params for flag in parameter.opts}
    assert ours & {flag.replace("_", "-") for flag in known_flags()} == set()


def test_underscores_stand_for_dashes_and_flags_of_beam_keep_theirs(run):
    options, flags = run(CleanOptions, *PATHS, "--drop_rate=0.2", "--min_length", "3", "--direct_num_workers=2")
    assert options.policy.drop_rate == 0.2
    assert options.policy.min_length == 3
    assert flags == ["--direct_num_workers=2"]


def test_a_value_out_of_range_names_the_file_that_it_stands_in(run, tmp_path):
    (tmp_path / "c.yaml").write_text("min_length: -1\ndrop_rate: 0.1\n")
    config = f"--config={tmp_path / 'c.yaml'}"
    with pytest.raises(UsageError, match=r"--min-length is out of range \(in the file .*c\.yaml\)"):
        run(CleanOptions, *PATHS, config)
    with pytest.raises(UsageError, match=r"--drop-rate is out of range\n"):
        run(CleanOptions, *PATHS, config, "--min-length=1", "--drop-rate=2")


def test_values_are_read_as_their_types(run):
    options, _ = run(CleanOptions, *PATHS, "--shards=5", "--threshold=0.5", "--overwrite", "--position-column=p")
    assert (options.shards, options.policy.threshold, options.overwrite) == (5, 0.5, True)
    assert options.log.columns.position == "p"
    assert options.policy.drop_rate == "auto"
    embed, _ = run(EmbedOptions, "--items=i", "--output=o", "--text-columns=title, brand")
    assert embed.text_columns == ("title", "brand")
    options, _ = run(CleanOptions, *PATHS, "--added-prefix=x_", "--added-names=weight=w,keep=k")
    assert options.added == AddedColumns("x_", ("weight=w", "keep=k"))
    assert run(VerifyOptions, "place")[0] == VerifyOptions("place")


@pytest.mark.parametrize(
    ("file", "flags", "expected"),
    [
        ("drop_rate: 0.2", [], (0.2, None)),
        ("drop_rate: 0.2", ["--threshold=0.7"], ("auto", 0.7)),
        ("threshold: 0.7", ["--drop-rate=0.2"], (0.2, None)),
        ("threshold: 0.7", ["--drop-rate=auto"], ("auto", None)),
        ("threshold: null\ndrop-rate: auto", [], ("auto", None)),
        ("drop_rate: 0.2", ["--drop_rate=0.3"], (0.3, None)),
    ],
)
def test_flags_win_over_the_file(run, tmp_path, file, flags, expected):
    (tmp_path / "c.yaml").write_text(f"{file}\nbeam: {{direct_num_workers: 2}}\n")
    options, beam = run(CleanOptions, *PATHS, f"--config={tmp_path / 'c.yaml'}", *flags)
    assert (options.policy.drop_rate, options.policy.threshold) == expected
    assert beam == ["--direct_num_workers=2"]
