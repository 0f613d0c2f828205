"""A night as cron runs it: what is asked of iadsr, in which order, and which exit code comes out.

A small program stands in for iadsr. It notes what it is asked, and does what files in its folder tell it. The real one
runs in tests/schedulers.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "runner_configs" / "nightly.sh"

STAND_IN = r"""#!/bin/sh
here=$(dirname "$0")
echo "$@" >>"$here/asked"
command=$1; shift
place= run= text=
for word in "$@"; do
  case $before in --output) place=$word ;; --dataset) place=$word ;; --run-id) run=$word ;; esac
  before=$word
done
code=$(cat "$here/code-$command" 2>/dev/null || echo 0)
case $command in
  train) [ "$code" -ne 0 ] || { mkdir -p "$place"; touch "$place/config.json"; } ;;
  clean)
    mkdir -p "$place/run=$run"
    touch "$place/run=$run/manifest.json"
    [ "$code" -ne 0 ] || { touch "$place/run=$run/_SUCCESS"; echo "run=$run" >"$place/LATEST"; }
    ;;
  check) echo a table; cat "$here/verdict" ;;
  metrics) touch "$place" ;;
  export) mkdir -p "$place"; touch "$place/README.md" "$place/item_map.parquet" ;;
esac
exit "$code"
"""


class Nights:
    def __init__(self, folder: Path, shell: str):
        self.folder, self.shell, self.home = folder, shell, folder / "home"
        self.settings = {}
        (folder / "iadsr").write_text(STAND_IN)
        (folder / "iadsr").chmod(0o755)
        (folder / "verdict").write_text("retrain: no.\n")

    def run(self, *steps: str, day: str = "2026-11-28", **settings: str) -> tuple[int, list[list[str]]]:
        """Runs steps. Returns the exit code and what iadsr was asked, each as words."""
        (self.folder / "asked").write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "IADSR_COMMAND": str(self.folder / "iadsr"),
            "IADSR_DIR": str(self.home),
            "IADSR_ITEMS": "/items.parquet",
            "IADSR_LOG": "/log/{day}",
            "IADSR_DAY": day,
            **self.settings,
            **settings,
        }
        result = subprocess.run(
            [self.shell, SCRIPT, *steps], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        self.said = result.stdout + result.stderr
        return result.returncode, [line.split() for line in (self.folder / "asked").read_text().splitlines()]

    def tell(self, command: str, code: int) -> None:
        (self.folder / f"code-{command}").write_text(str(code))


@pytest.fixture(params=["sh", "bash"])
def nights(request, tmp_path) -> Nights:
    return Nights(tmp_path, request.param)


def value(words: list[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words else None


def test_the_first_night_trains_before_it_cleans_and_later_ones_do_not(nights):
    code, asked = nights.run(IADSR_FORMATS="recbole hf", IADSR_PROM="/p", IADSR_TRAIN_OPTIONS="--hold-out 2 --seed 3")
    assert code == 0, nights.said
    assert [words[0] for words in asked] == [*("embed", "train", "clean", "metrics", "metrics", "export", "export")]
    train, clean = asked[1], asked[2]
    model = f"{nights.home}/models/model=2026-11-28"
    assert train[-4:] == ["--hold-out", "2", "--seed", "3"]
    assert (value(train, "--interactions"), value(train, "--output")) == ("/log/2026-11-28", model)
    assert value(clean, "--model") == model
    assert value(clean, "--dataset") == f"{nights.home}/dataset"
    assert (value(clean, "--run-id"), value(clean, "--keep-runs")) == ("2026-11-28", "14")
    assert [value(words, "--format") for words in asked[3:]] == ["openlineage", "prometheus", "recbole", "hf"]
    code, asked = nights.run(day="2026-11-29", IADSR_FORMATS="recbole")
    assert code == 0
    assert [words[0] for words in asked] == ["embed", "clean", "metrics", "export", "check"]
    assert value(asked[1], "--model") == model
    assert value(asked[3], "--ids") == f"{nights.home}/exports/recbole/run=2026-11-28"
    runs = [f"{nights.home}/dataset/run=2026-11-{day}" for day in (29, 28)]
    assert asked[4] == ["check", runs[0], "--against", runs[1]]


def test_a_model_that_is_trained_when_it_is_due_serves_from_the_next_night_on(nights):
    nights.run(day="2026-11-26")
    (nights.folder / "verdict").write_text("retrain: yes, because of days since the model was trained 46.0.\n")
    _, asked = nights.run(day="2026-11-27")
    assert [words[0] for words in asked] == ["embed", "clean", "metrics", "check", "train"]
    assert value(asked[1], "--model") == f"{nights.home}/models/model=2026-11-26"
    assert value(asked[4], "--output") == f"{nights.home}/models/model=2026-11-27"
    (nights.folder / "verdict").write_text("retrain: no.\n")
    # The same night again is the same night: not cleaned with its own model, and not trained again.
    _, again = nights.run(day="2026-11-27")
    assert [words[0] for words in again] == ["embed", "clean", "metrics"]
    assert value(again[1], "--model") == f"{nights.home}/models/model=2026-11-26"
    _, asked = nights.run(day="2026-11-28")
    assert value(asked[1], "--model") == f"{nights.home}/models/model=2026-11-27"


def test_a_training_starts_from_the_newest_model_if_it_is_told_to(nights):
    newest = {"IADSR_TRAIN": "always", "IADSR_TRAIN_FROM": "newest", "IADSR_TRAIN_OPTIONS": "--seed 3"}
    _, asked = nights.run("train", day="2026-11-26", **newest)
    assert "--from" not in asked[0]  # there is none
    nights.run("train", day="2026-11-27", IADSR_TRAIN="always")
    _, asked = nights.run("train", day="2026-11-28", **newest)
    assert value(asked[0], "--from") == f"{nights.home}/models/model=2026-11-27"
    assert asked[0][-2:] == ["--seed", "3"]
    _, asked = nights.run("train", day="2026-11-28", IADSR_TRAIN="always")
    assert "--from" not in asked[0]


def test_a_gate_that_fails_stops_exports_and_training_but_not_metrics(nights):
    nights.run(day="2026-11-27")
    nights.tell("clean", 5)
    (nights.folder / "verdict").write_text("retrain: yes, because of all.\n")
    code, asked = nights.run(IADSR_FORMATS="hf", IADSR_GATES="/g.yaml")
    assert code == 5
    assert [words[0] for words in asked] == ["embed", "clean", "metrics"]
    assert [value(words, "--gates") for words in asked[1:]] == ["/g.yaml"] * 2


@pytest.mark.parametrize(
    ("command", "code", "asked"),
    [
        ("embed", 1, ["embed"]),
        ("train", 4, ["embed", "train"]),
        ("clean", 1, ["embed", "train", "clean", "metrics"]),
        ("metrics", 1, ["embed", "train", "clean", "metrics", "export", "export"]),
        ("export", 1, ["embed", "train", "clean", "metrics", "export"]),
    ],
)
def test_a_failure_is_the_exit_code_and_stops_what_depends_on_it(nights, command, code, asked):
    nights.tell(command, code)
    found, words = nights.run(IADSR_FORMATS="hf recbole")
    assert found == code
    assert [each[0] for each in words] == asked


def test_the_verdict_of_a_run_with_a_failed_gate_counts_and_one_that_cannot_be_checked_does_not(nights):
    nights.run(day="2026-11-27")
    nights.run("clean")
    nights.tell("check", 5)
    (nights.folder / "verdict").write_text("retrain: yes, because of all.\n")
    code, asked = nights.run("train")
    assert (code, [words[0] for words in asked]) == (0, ["check", "train"])
    shutil.rmtree(nights.home / "models" / "model=2026-11-28")
    nights.tell("check", 1)
    code, asked = nights.run("train")
    assert (code, [words[0] for words in asked]) == (1, ["check"])


def test_steps_alone_say_by_99_that_nothing_is_due(nights):
    assert nights.run("first-model")[0] == 0
    assert nights.run("first-model") == (99, [])
    assert nights.run("first-model", day="2026-11-29") == (99, [])
    nights.run("clean", day="2026-11-29")
    assert nights.run("train", day="2026-11-29")[0] == 99
    code, asked = nights.run("train", day="2026-11-29", IADSR_TRAIN="always", IADSR_LOG_FORMAT="json")
    assert (code, [words[0] for words in asked]) == (0, ["train"])
    assert asked[0][-2:] == ["--log-format", "json"]
    assert nights.run("train", IADSR_TRAIN="never") == (99, [])
    assert nights.run("sweep") == (2, [])


def test_old_exports_are_deleted_and_nothing_else(nights):
    for day in range(10, 15):
        nights.run("clean", day=f"2026-11-{day}")
        assert nights.run("export", day=f"2026-11-{day}", IADSR_FORMATS="hf", IADSR_KEEP_RUNS="3")[0] == 0
        (nights.home / "exports" / "hf" / "notes").touch()
    left = sorted(path.name for path in (nights.home / "exports" / "hf").iterdir())
    assert left == ["notes", "run=2026-11-12", "run=2026-11-13", "run=2026-11-14"]
