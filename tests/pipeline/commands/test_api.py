"""The Python API: `from iadsr.pipeline import ...` in a process without a console."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from iadsr.models.core.errors import UsageError
from iadsr.models.core.option import options_of
from iadsr.pipeline import clean, embed, evaluate, train, verify
from iadsr.pipeline.commands.keyword_function import command_of

FUNCTIONS = (clean, embed, evaluate, train, verify)
REQUIRED = {"interactions": "i", "embeddings": "e", "model": "m", "output": "o"}


def test_importing_the_functions_loads_nothing_heavy():
    heavy = ("torch", "apache_beam", "pyarrow", "rich", "yaml")
    code = f"import sys; from iadsr.pipeline import clean; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_call_prints_no_warning_of_beams_and_leaves_the_programs_logging_alone():
    code = """
import logging
from iadsr.models.core.errors import IadsrError
from iadsr.pipeline import verify
try:
    verify("/nowhere")
except IadsrError:
    pass
assert not logging.getLogger().handlers
logging.getLogger("mine").warning("told")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr == "told\n"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_signature_and_docstring_say_what_the_options_declare(function):
    command = command_of(function)
    parameters = inspect.signature(function).parameters
    declared = options_of(command.options)
    assert function.__name__ == command.name
    assert set(parameters) == {*declared, "beam", "progress"}
    for name, option in declared.items():
        assert parameters[name].default is (inspect.Parameter.empty if option.required else option.default)
        assert parameters[name].annotation == option.type
        assert f"{name}: {option.help}" in function.__doc__


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (
            {**REQUIRED, "drop_rte": 0.1},
            TypeError,
            r"clean\(\) got an unexpected .*'drop_rte'; did you mean 'drop_rate'",
        ),
        ({"model": "m"}, TypeError, r"clean\(\) missing a required argument: 'interactions'"),
        ({**REQUIRED, "drop_rate": 1}, UsageError, "--drop-rate is out of range"),
        ({**REQUIRED, "shuffle": "boat"}, UsageError, "--shuffle does not take this value"),
        ({**REQUIRED, "drop_rate": 0.1, "threshold": 0.5}, UsageError, "--drop-rate excludes --threshold"),
        ({**REQUIRED, "user_column": "item_id"}, UsageError, "named for more than one role"),
        ({**REQUIRED, "beam": ["--direct_num_worker=2"]}, UsageError, "No such option: --direct_num_worker"),
    ],
)
def test_wrong_arguments_are_refused(values, error, words):
    with pytest.raises(error, match=words):
        clean(**values)


def test_clean_and_verify_in_a_notebook(world, tmp_path, capfd):
    settings = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    result = clean(output=tmp_path / "out", drop_rate=0.05, beam={"direct_num_workers": 1}, **settings)
    written = capfd.readouterr()
    assert written.out == ""
    assert "Cleaning" not in written.err
    assert (tmp_path / "out" / "manifest.json").read_text().strip() == result.manifest.to_json()
    dropped = result.manifest.rows.dropped
    assert f"Dropped {dropped:,} of 3,200 interactions" in str(result)
    assert repr(result) == str(result)
    shown = result._repr_html_()
    assert f"<tr><td>dropped</td><td>{dropped:,}</td></tr>" in shown
    assert "<pre>" in shown
    verified = verify(tmp_path / "out")
    assert verified.verified.rows.dropped == dropped
    assert "is complete" in str(verified)
    assert "<td>3,200</td>" in verified._repr_html_()


def test_progress_is_shown_on_the_standard_error_if_asked_for(world, tmp_path, capfd):
    settings = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    clean(output=tmp_path / "out", progress=True, **settings)
    written = capfd.readouterr()
    assert "Cleaning: 3,200 rows" in written.err
    assert written.out == ""


def test_train_says_what_it_measured(world, tmp_path):
    result = train(interactions=world.interactions, embeddings=world.embeddings, output=tmp_path / "model")
    assert result.metrics["interactions"] == 3200
    assert str(result).startswith("Trained on 3,200 interactions of 400 users with 40 items.")
    assert f"<td>{result.metrics['held_out_auroc']:.4g}</td>" in result._repr_html_()
    assert result.output == str(tmp_path / "model")
    assert (Path(result.output) / "config.json").exists()
