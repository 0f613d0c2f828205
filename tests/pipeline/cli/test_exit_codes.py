import io
import logging

import pytest
from rich.console import Console

from iadsr.models.core.errors import ConservationError, EngineError, InputError, UsageError
from iadsr.pipeline.cli.command_log import CommandLog
from iadsr.pipeline.cli.exit_codes import bug_in_short, exit_code_of


def failing_with(error: BaseException):
    def command():
        raise error

    return command


def run(command) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=200)
    code = exit_code_of(command, lambda: CommandLog(console))
    return code, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (failing_with(InputError("no log", code="FILE-NONE", fix="look")), 1, "Error IADSR-FILE-NONE: no log"),
        (failing_with(UsageError("no flag", code="OPTION", fix="look")), 2, "IADSR-OPTION: no flag"),
        (failing_with(ConservationError("a row is gone", code="ROWS", fix="look")), 3, "IADSR-ROWS: a row is gone"),
        (failing_with(EngineError("no Spark", code="ENGINE-X", fix="look")), 6, "IADSR-ENGINE-X: no Spark"),
        (failing_with(KeyError("anna")), 4, "IADSR-BUG: KeyError"),
        (failing_with(KeyboardInterrupt()), 130, "Interrupted."),
        (lambda: 130, 130, "Interrupted."),  # typer has heard it first
    ],
)
def test_each_kind_of_failure_has_its_exit_code(command, code, words):
    found, shown = run(command)
    assert found == code
    assert words in shown
    assert "anna" not in shown


def test_the_stack_trace_of_a_bug_is_logged_for_those_who_ask(caplog):
    with caplog.at_level(logging.INFO):
        run(failing_with(KeyError("anna")))
    assert caplog.records[-1].exc_info
    assert "KeyError: 'anna'" in caplog.text


def test_a_bug_is_told_by_type_and_place_and_never_by_its_text_which_may_hold_a_user():
    frame = "File '/x/iadsr/transforms/judge/score_shards.py', line 88, in f".replace("'", '"')
    trace = f"Traceback (most recent call last)\n  {frame}\nKeyError: 'anna' [while running 'Score']\n"
    assert bug_in_short(RuntimeError(trace)) == "KeyError at transforms/judge/score_shards.py:88"
    assert bug_in_short(ValueError("anna")) == "ValueError"
    chained = f"Traceback (most recent call last)\n  {frame}\npyarrow.lib.ArrowInvalid: user anna"
    assert bug_in_short(RuntimeError(chained)) == "ArrowInvalid at transforms/judge/score_shards.py:88"
