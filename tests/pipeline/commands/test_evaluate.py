"""The evaluate command as a user runs it: another process, its exit code, its table and its JSON file."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError, UsageError
from iadsr.models.core.option import build
from iadsr.models.evaluation.bootstrap import Estimate
from iadsr.models.evaluation.downstream_recommender import DownstreamConfig
from iadsr.models.evaluation.ranking import METRICS
from iadsr.pipeline.commands.command_options import EvaluateOptions
from iadsr.pipeline.commands.evaluate import measure, run_evaluate, write_json
from iadsr.pipeline.commands.evaluation import Evaluation, TreatmentResult, describe_evaluation, percent
from iadsr.pipeline.engines.progress import Progress
from iadsr.pipeline.engines.runner import beam_options
from iadsr.transforms.items.embedding_files import write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable
from iadsr.transforms.read.log_source import LogSource

TIMEOUT = 600
USERS = 800
"""Of the log with noise: enough to know what noise scores."""


def evaluate(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "iadsr.pipeline", "evaluate", *map(str, arguments)]
    environment = {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment)


@pytest.fixture(scope="module")
def injected(tmp_path_factory):
    """An evaluation of a log with noise inserted: the process, and the figures it wrote.

    Its users keep to one of five groups of eight items each, so that most noise is nothing like them, and certain.
    """
    root = tmp_path_factory.mktemp("evaluation")
    path, generator = root / "figures.json", np.random.default_rng(0)
    users, items = np.repeat(np.arange(USERS), 8), [f"item-{i:02d}" for i in range(40)]
    bought = users % 5 * 8 + generator.integers(0, 8, len(users))
    log = {"user_id": users, "item_id": [items[i] for i in bought], "timestamp": np.arange(len(users))}
    pq.write_table(pa.table(log), root / "log.parquet")
    vectors = (np.eye(5, 12)[np.arange(40) // 8] + 0.1 * generator.normal(size=(40, 12))).astype(np.float32)
    metadata = EmbeddingMetadata("semantic", "test-encoder", "1", "mean", 12, ("title",))
    texts = pa.array(items, pa.large_string())
    table = EmbeddingTable(pa.array(items), vectors, np.ones(40, bool), texts, metadata)
    write_embeddings(table, str(root / "embeddings"))
    inputs = ["--interactions", root / "log.parquet", "--embeddings", root / "embeddings"]
    result = evaluate(*inputs, "--inject", 0.25, "--output", path)
    assert result.returncode == 0, result.stderr
    return result, json.loads(path.read_text())


def test_all_treatments_are_measured_on_every_user(injected):
    _, figures = injected
    assert figures["recommender"] == "sasrec"
    assert figures["users"] == USERS
    assert figures["items"] == 40
    assert figures["seeds"] == 3
    # 25% of the noisy log: a third of what was there.
    assert figures["inserted"] == pytest.approx(8 * USERS / 3, rel=0.01)
    assert figures["training_interactions"] == 6 * USERS + figures["inserted"]
    assert figures["recommends_seen"]  # some of its users come back for the same item
    assert [treatment["name"] for treatment in figures["treatments"]] == [
        "raw",
        "dropped",
        "weighted",
        "oracle",
        "random",
    ]
    for treatment in figures["treatments"]:
        assert set(treatment["metrics"]) == set(METRICS)
        for metric in treatment["metrics"].values():
            assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
        # A longer list finds at least as much.
        assert treatment["metrics"]["HR@5"]["value"] <= treatment["metrics"]["HR@20"]["value"]


def test_the_oracle_removes_exactly_the_noise_and_random_as_many_as_cleaning(injected):
    _, figures = injected
    left = {treatment["name"]: treatment["interactions"] for treatment in figures["treatments"]}
    assert left["raw"] == figures["training_interactions"]
    assert left["oracle"] == figures["training_interactions"] - figures["inserted"]
    assert left["dropped"] < left["raw"]
    assert left["random"] == left["weighted"] < left["raw"]


def test_the_verdict_and_the_recovered_share_are_printed(injected):
    result, figures = injected
    treatments = {treatment["name"]: treatment for treatment in figures["treatments"]}
    assert treatments["raw"]["verdict"] is None
    for name in ("dropped", "weighted"):
        verdict, lift = treatments[name]["verdict"], treatments[name]["lifts"]["NDCG@10"]
        assert verdict == ("helps" if lift["low"] > 0 else "hurts" if lift["high"] < 0 else "no measurable difference")
        assert f"{verdict}: NDCG@10 {lift['value']:+.1%}" in result.stdout
    recovered = f"{treatments['weighted']['recovered']['value']:.1%}"
    assert (recovered in result.stdout) == (treatments["oracle"]["verdict"] == "helps")
    assert f"{treatments['raw']['metrics']['NDCG@10']['value']:.4f}" in result.stdout
    # On its way the command says what it is at.
    assert "Training sasrec" in result.stderr


def test_without_inserted_noise_there_is_no_oracle_and_what_was_left_out_is_told(world, tmp_path):
    log = LogSource(world.with_bad_input(tmp_path / "log"), on_bad_file="skip")
    options = EvaluateOptions(log, world.embeddings, recommender="gru4rec", seeds=2)
    evaluation = measure(options, beam_options([]), Progress(None), DownstreamConfig(epochs=2))
    assert [result.name for result in evaluation.treatments] == ["raw", "dropped", "weighted"]
    assert evaluation.inserted == 0
    assert all(result.recovered is None for result in evaluation.treatments)
    words = describe_evaluation(evaluation)
    assert words.startswith("gru4rec trained on 2,400 interactions.\n400 users' last item ranked among all 40")
    assert "95% intervals over users and 2 trainings." in words
    assert "oracle" not in words
    assert evaluation.rejected == {"null user_id": 1}
    assert [(file.path, file.code) for file in evaluation.skipped] == [(f"{tmp_path}/log/c.parquet", "FILE-READ")]
    assert f"Left out: 1 file: Cannot read {tmp_path}/log/c.parquet (FILE-READ).\n" in words
    assert "Unusable, left out: 1 row (null user_id 1).\n" in words


def test_what_rules_drop_is_in_no_treatment(world, tmp_path):
    log = pq.read_table(world.interactions)
    first = log.slice(0, 400)
    crawler = first.set_column(0, "user_id", pa.array(["crawler"] * len(first), log.schema.field("user_id").type))
    path = str(tmp_path / "log.parquet")
    pq.write_table(pa.concat_tables([log, crawler]), path)
    values = {"interactions": path, "embeddings": world.embeddings, "recommender": "gru4rec", "seeds": 1}
    options = build(EvaluateOptions, {**values, "last_interactions": 8})
    evaluation = measure(options, beam_options([]), Progress(None), DownstreamConfig(epochs=1))
    assert [(each.rule, each.interactions, each.users) for each in evaluation.found if each.interactions] == [
        ("window", 392, 1)
    ]
    assert evaluation.users == 401
    assert evaluation.training_interactions == 2400 + 6
    words = describe_evaluation(evaluation)
    assert "Dropped interactions outside the window (window): 392 by 1 user.\n" in words
    assert "raw: the log as the rules leave it\n" in words


def test_more_unusable_rows_than_allowed_stop_it_before_the_work(world, tmp_path):
    log = LogSource(world.with_bad_input(tmp_path / "log"), on_bad_file="skip", max_rejected=0.0)
    options = EvaluateOptions(log, world.embeddings)
    with pytest.raises(InputError, match="than --max-rejected allows"):
        run_evaluate(options, beam_options([]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"inject": 1.5}, "--inject is out of range"),
        ({"inject": 0.0}, "--inject is out of range"),
        ({"seeds": 0}, "--seeds is out of range"),
        ({"max_rejected": -0.1}, "--max-rejected is out of range"),
    ],
)
def test_values_out_of_range_are_refused(values, words):
    with pytest.raises(UsageError, match=words):
        build(EvaluateOptions, {"interactions": "log", "embeddings": "embeddings", **values})


def test_figures_that_cannot_be_written_after_the_work_are_an_error_of_ours_and_leave_the_old_ones(
    tmp_path, monkeypatch
):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "figures.json").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    evaluation = Evaluation("caser", 50, 9, 200, 0, True, 1, [], rejected={}, skipped=())
    with pytest.raises(InputError, match="No space left") as error:
        write_json(evaluation, tmp_path / "figures.json")
    assert error.value.code == "FILE-WRITE"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_figures_go_to_a_file_of_the_present_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(Evaluation("caser", 50, 9, 200, 0, True, 1, [], rejected={}, skipped=()), Path("figures.json"))
    assert json.loads((tmp_path / "figures.json").read_text())["users"] == 50


@pytest.mark.parametrize("terminal", ["/dev/full", "a pipe that nobody reads"])
def test_figures_are_written_where_the_terminal_takes_none(terminal, tmp_path):
    """Only the hours of work are left out."""
    code = """
import sys
from iadsr.pipeline.cli.app import main
from iadsr.pipeline.commands import evaluate
from iadsr.pipeline.commands.evaluation import Evaluation

done = Evaluation("caser", 50, 9, 200, 0, True, 1, [], rejected={}, skipped=())
evaluate.measure = lambda *_: done
sys.argv[1:] = ["evaluate", "--interactions", "i", "--embeddings", "e", "--output", "figures.json"]
main()
"""
    if terminal == "/dev/full":
        out = os.open(terminal, os.O_WRONLY)
    else:
        reader, out = os.pipe()
        os.close(reader)
    try:
        result = subprocess.run([sys.executable, "-c", code], stdout=out, check=False, cwd=tmp_path, timeout=TIMEOUT)
    finally:
        os.close(out)
    assert result.returncode != 0
    assert json.loads((tmp_path / "figures.json").read_text())["users"] == 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recommender", "bert4rec"], "'--recommender': 'bert4rec' is not one of 'gru4rec', 'sasrec', 'caser'"),
        (["--output", "/no/such/directory/figures.json"], "--output cannot be written"),
    ],
)
def test_wrong_usage_exits_with_2(world, arguments, words):
    result = evaluate("--interactions", world.interactions, "--embeddings", world.embeddings, *arguments)
    assert result.returncode == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_a_log_that_is_too_small_is_refused(world, tmp_path):
    path = str(tmp_path / "log.parquet")
    users = np.repeat(np.arange(60), 2)
    items = pa.array([f"item-{i % 40:02d}" for i in range(120)])
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": np.arange(120)}), path)
    with pytest.raises(InputError, match="0 users with more than 2 interactions"):
        run_evaluate(EvaluateOptions(LogSource(path), world.embeddings), beam_options([]))


def test_what_is_not_defined_is_null_in_the_file_and_said_in_words(tmp_path):
    nothing, undefined = Estimate(0.0, 0.0, 0.0), Estimate(float("nan"), float("nan"), float("nan"))
    treatments = [
        TreatmentResult(
            name=name,
            interactions=5,
            metrics=dict.fromkeys(METRICS, nothing),
            lifts=dict.fromkeys(METRICS, undefined),
            verdict=None if name == "raw" else "no measurable difference",
            recovered=None,
        )
        for name in ("raw", "dropped")
    ]
    evaluation = Evaluation("caser", 50, 9, 200, 0, True, 1, treatments, rejected={}, skipped=())
    write_json(evaluation, tmp_path / "figures.json")
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["treatments"][1]["lifts"]["HR@5"] == {"value": None, "low": None, "high": None}
    assert written["treatments"][1]["metrics"]["HR@5"]["value"] == 0
    words = describe_evaluation(evaluation)
    assert "no measurable difference: NDCG@10 not defined against raw" in words
    assert "can be recommended again" in words


def test_a_share_of_the_oracles_gain_is_said_only_if_the_oracle_gains():
    nothing, share = Estimate(0.0, 0.0, 0.0), Estimate(59.7, -21.3, 19.9)

    def words(verdict: str) -> str:
        results = [
            TreatmentResult(name, 5, dict.fromkeys(METRICS, nothing), dict.fromkeys(METRICS, nothing), judged, found)
            for name, judged, found in (("raw", None, None), ("dropped", "helps", share), ("oracle", verdict, None))
        ]
        return describe_evaluation(Evaluation("sasrec", 50, 9, 200, 40, True, 1, results, rejected={}, skipped=()))

    assert "against raw, 5970.0% [-2130.0%, 1990.0%] of what the oracle gains" in words("helps")
    assert "of what the oracle gains" not in words("no measurable difference")


def test_a_lift_of_nothing_has_no_minus():
    assert percent(Estimate(0.0, -1e-17, 1e-17), signed=True) == "+0.0% [+0.0%, +0.0%]"
    assert percent(Estimate(-0.1, -0.2, 0.1), signed=True) == "-10.0% [-20.0%, +10.0%]"
