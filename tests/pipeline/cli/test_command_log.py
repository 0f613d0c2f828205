"""The log as JSON lines, as a command writes it."""

import json
import subprocess
import sys

import pytest


def iadsr(*arguments) -> tuple[int, str, list[dict]]:
    command = [sys.executable, "-m", "iadsr.pipeline", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return result.returncode, result.stdout, [json.loads(line) for line in result.stderr.splitlines()]


def test_every_line_of_a_run_is_json_and_the_standard_output_stays_text(world, tmp_path):
    output = tmp_path / "out"
    paths = ("--interactions", world.interactions, "--embeddings", world.embeddings, "--model", world.model)
    code, shown, lines = iadsr(
        *("clean", *paths, "--output", output, "--drop-rate", 0.1, "--log-format", "json"),
        *("--verbose", "--direct_num_workers=2"),
    )
    assert code == 0
    manifest = json.loads((output / "manifest.json").read_text())
    own = [line for line in lines if line["event"] not in ("log", "progress")]  # a slow machine tells progress too
    assert [line["event"] for line in own] == [
        *("start", "task_start", "task_end", "task_start", "task_end", "result", "end")
    ]
    assert all(line["command"] == "clean" for line in own)
    assert [line.get("run") for line in own][3:] == [manifest["run"]] * 4
    figures = own[-2]["figures"]
    assert figures["rows"] == manifest["rows"]
    assert figures["reasons"]["dropped"] == {code: n for code, n in manifest["reasons"]["dropped"].items() if n}
    assert own[-2]["message"] + "\n" == shown
    assert (own[-1]["exit_code"], own[-1]["level"]) == (0, "info")
    # With two workers and --verbose, Beam logs much.
    assert any(line["logger"].startswith("apache_beam") for line in lines if line["event"] == "log")
    code, shown, lines = iadsr("check", output, "--log-format=json")
    assert code == 0
    assert {gate["name"]: gate["value"] for gate in lines[-2]["figures"]["gates"]}["rejected_rows"] == 0


def test_an_error_has_its_parts_as_fields_also_if_a_file_chose_the_format(tmp_path):
    (tmp_path / "c.yaml").write_text("log_format: json\n")
    code, shown, lines = iadsr("verify", "nowhere", "--config", tmp_path / "c.yaml")
    assert (code, shown) == (1, "")
    start, error, end = lines
    assert (start["event"], start["command"]) == ("start", "verify")
    assert error.keys() >= {"time", "level", "pid", "found", "expected", "fix"}
    assert (error["event"], error["level"], error["code"]) == ("error", "error", "IADSR-OUTPUT-UNFINISHED")
    assert error["message"] == "nowhere holds no finished run"
    assert (end["event"], end["exit_code"], end["level"]) == ("end", 1, "error")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["sweep", "--log-format=json"], 2, "IADSR-OPTION"),
        (["clean", "--config", "nowhere.yaml", "--log_format", "json"], 1, "IADSR-CONFIG-READ"),
        (["clean", "--shuffle=boat", "--log-format=json"], 2, "IADSR-OPTION"),
    ],
)
def test_mistakes_in_options_are_logged_as_json_too(arguments, code, error):
    found, shown, lines = iadsr(*arguments)
    assert (found, shown) == (code, "")
    assert [line["event"] for line in lines] == ["error", "end"]
    assert lines[0]["code"] == error
    assert lines[0]["fix"]


def test_what_the_doctor_finds_is_logged(tmp_path):
    code, shown, lines = iadsr("doctor", "--model", tmp_path / "none", "--log-format", "json")
    assert code == 1
    found = {line["checked"]: line for line in lines if line["event"] == "finding"}
    assert found["Python"]["healthy"]
    assert found["Python"]["level"] == "info"
    assert [line["checked"] for line in found.values() if line["level"] == "error"] == ["Model"]
    assert len(shown.splitlines()) >= len(found)
