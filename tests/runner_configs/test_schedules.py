"""What starts nights: each file as the program that reads it would, and all of them with the same settings."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from iadsr.pipeline.cli import exit_codes

FOLDER = Path(__file__).parents[2] / "runner_configs"
SCRIPT = (FOLDER / "nightly.sh").read_text(encoding="utf-8")
DAG = ast.parse((FOLDER / "airflow" / "iadsr_nightly.py").read_text(encoding="utf-8"))
MANIFESTS = list(yaml.safe_load_all((FOLDER / "kubernetes" / "cronjob.yaml").read_text(encoding="utf-8")))

FINAL = {exit_codes.EXIT_USAGE, exit_codes.EXIT_CONSERVATION, exit_codes.EXIT_BUG, exit_codes.EXIT_GATE}
"""Exit codes that another try does not change."""


def constants() -> dict:
    """The constants of the DAG. Airflow itself is not installed here."""
    scope = {}
    for node in DAG.body:
        if isinstance(node, ast.Assign):
            exec(compile(ast.Module([node], []), "dag", "exec"), scope)
    return scope


def env_file() -> dict[str, str]:
    lines = (FOLDER / "nightly.env").read_text(encoding="utf-8").splitlines()
    return {name: shlex.split(text)[0] for name, text in (line.split("=", 1) for line in lines if "=" in line)}


def test_every_setting_that_a_file_gives_is_one_of_the_script():
    described = set(re.findall(r"^#   (IADSR_\w+)|(IADSR_\w+_OPTIONS)", SCRIPT, re.M))
    described = {name for pair in described for name in pair if name}
    used = set(re.findall(r"\$\{?(IADSR_\w+)", SCRIPT))
    assert used == described
    variables = json.loads((FOLDER / "airflow" / "variables.json").read_text())["iadsr"]
    config = MANIFESTS[0]["data"]
    for given in (env_file(), {key: value for key, value in variables.items() if key != "script"}, config):
        assert set(given) <= described
        assert {"IADSR_DIR", "IADSR_ITEMS", "IADSR_LOG"} <= set(given)
        assert all(isinstance(value, str) for value in given.values())
    assert set(constants()["SETTINGS"]) == described - {"IADSR_DAY", "IADSR_TRAIN"}


def test_no_scheduler_tries_again_what_cannot_change():
    assert set(constants()["FINAL"]) == FINAL
    assert constants()["NOT_DUE"] == int(re.search(r"NOT_DUE=(\d+)", SCRIPT)[1])
    assert int(re.search(r"GATE_FAILED=(\d+)", SCRIPT)[1]) == exit_codes.EXIT_GATE
    service = (FOLDER / "systemd" / "iadsr.service").read_text(encoding="utf-8")
    assert {int(code) for code in re.search(r"RestartPreventExitStatus=(.*)", service)[1].split()} == FINAL
    rules = MANIFESTS[1]["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert set(rules[0]["onExitCodes"]["values"]) == FINAL


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
def test_the_manifests_are_what_kubernetes_takes(version):
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, version, strict=True)
    container = MANIFESTS[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"][0]["configMapRef"]["name"] == MANIFESTS[0]["metadata"]["name"]


def test_systemd_takes_the_service_and_the_timer(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    program = FOLDER / "nightly.sh"
    for name in ("iadsr.service", "iadsr.timer"):
        text = (FOLDER / "systemd" / name).read_text(encoding="utf-8")
        # The check wants a program and a user that are there.
        text = re.sub("ExecStart=.*", f"ExecStart={program}", text).replace("User=iadsr", "User=root")
        (tmp_path / name).write_text(text)
    files = [tmp_path / "iadsr.service", tmp_path / "iadsr.timer"]
    result = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    (tmp_path / "iadsr.service").write_text("[Service]\nTipe=oneshot\n")
    result = subprocess.run(["systemd-analyze", "verify", files[0]], capture_output=True, text=True, check=False)
    assert "Tipe" in result.stderr


@pytest.mark.parametrize(("code", "mail"), [(0, ""), (5, "iadsr has ended with exit code 5:\nsaid\n")])
def test_the_line_of_cron_is_silent_if_all_is_well(tmp_path, code, mail):
    (line,) = [each for each in (FOLDER / "cron" / "iadsr").read_text().splitlines() if re.match(r"[0-9*]", each)]
    assert "%" not in line, "cron makes a line feed of it"
    command = re.match(r"(?:\S+ ){5}iadsr (.*)", line)[1]
    (tmp_path / "nightly.env").write_text(f'IADSR_DIR={tmp_path}\nIADSR_FORMATS="a b"\n')
    (tmp_path / "nightly.sh").write_text(f'#!/bin/sh\necho said\n[ "$IADSR_FORMATS" = "a b" ] && exit {code}\n')
    (tmp_path / "nightly.sh").chmod(0o755)
    for path in ("/etc/iadsr/nightly.env", "/opt/iadsr/runner_configs/nightly.sh"):
        assert path in command
        command = command.replace(path, str(tmp_path / Path(path).name))
    environment = {"PATH": os.environ["PATH"]}
    shown = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert shown.stdout + shown.stderr == mail


def test_a_second_night_does_not_join_one_that_still_runs(tmp_path):
    if shutil.which("flock") is None:
        pytest.skip("no flock on this machine")
    (tmp_path / "nightly.env").write_text(f"IADSR_DIR={tmp_path}\n")
    line = (FOLDER / "cron" / "iadsr").read_text().splitlines()[-1]
    command = line[line.index("set -a") :].replace("/etc/iadsr", str(tmp_path))
    command = command.replace("/opt/iadsr/runner_configs/nightly.sh", "true")
    held = ["flock", str(tmp_path), "sh", "-c", command]
    shown = subprocess.run(held, capture_output=True, text=True, check=False).stdout
    assert "exit code 75" in shown
