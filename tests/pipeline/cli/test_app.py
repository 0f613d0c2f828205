"""The command line as a user runs it: another process, its exit code, its two streams."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.pipeline.cli import app as cli

TIMEOUT = 240


def iadsr(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "iadsr.pipeline", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("command", ["", "embed", "train", "clean", "demo", "evaluate", "verify", "doctor"])
def test_help_teaches_and_exits_with_zero(command):
    result = iadsr(*([command] if command else []), "--help", env={"COLUMNS": "200"})
    assert result.returncode == 0
    assert "Usage: " in result.stdout
    if command:
        assert "--config" in result.stdout
        assert "Apache Beam" in result.stdout


def test_the_command_line_alone_imports_nothing_heavy():
    code = "import sys, iadsr.pipeline.cli; print([m for m in ('torch', 'apache_beam', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "mistake",
    [
        ["--no-such-flag"],
        ["--drop-rate=2"],
        ["--user-column=item_id"],
        ["--shuffle=boat"],
        ["--join=glue"],
        ["--on-bad-file=mend"],
        ["--report-users=all"],
        ["--max-rejected=2"],
        ["--direct_num_worker=2"],
    ],
)
def test_mistakes_in_options_are_told_before_anything_heavy_is_loaded(mistake):
    arguments = ["clean", *(f"--{name}=x" for name in ("interactions", "embeddings", "model", "output")), *mistake]
    code = f"""
import sys
from iadsr.pipeline.cli import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit as exit:
    print(exit.code, [m for m in ("torch", "apache_beam") if m in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout in ("1 []\n", "2 []\n")
    assert "Error" in result.stderr


def test_torch_is_told_not_to_spin_unless_the_user_says_otherwise():
    code = """
import os, sys
from iadsr.pipeline.cli import main
sys.argv[1:] = ["--version"]
try:
    main()
finally:
    print(os.environ["OMP_WAIT_POLICY"])
"""
    for given, policy in ({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given)
        assert result.stdout.splitlines()[-1] == policy


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["clean"], 2, "Missing option '--interactions'"),
        (["sweep"], 2, "IADSR-OPTION: No such command"),
        (
            ["clean", "--drop-rate", "0.1", "--threshold", "0.5"],
            2,
            "IADSR-OPTION-BOTH: --drop-rate excludes --threshold",
        ),
        (["clean", "--drop-rate", "much"], 2, "IADSR-OPTION-VALUE: --drop-rate does not take this value"),
        (
            ["clean", "--shuffle", "cards"],
            2,
            "value for '--shuffle': 'cards' is not one of 'auto', 'claim-check', 'bytes'",
        ),
        (["train", "--backbone", "bert"], 2, "'bert' is not one of 'gru4rec', 'sasrec', 'caser'"),
        (["train", "--head", "tail"], 2, "'tail' is not one of 'agreement', 'paper'"),
        (["demo", "--items", "x"], 2, "give both"),
        (["clean", "--drop-rate", "2"], 2, "--drop-rate is out of range"),
        (["clean", "--drop_rate=2"], 2, "--drop-rate is out of range"),
        (["clean", "--drp_rate", "0.3"], 2, "did you mean --drop-rate?"),
        (["clean", "--direct_running_mode=multi_threading"], 2, "loses rows"),
        (["train", "--seed", "-1"], 2, "IADSR-OPTION-RANGE: --seed is out of range"),
        (["train", "--max-rejected", "2"], 2, "IADSR-OPTION-RANGE: --max-rejected is out of range"),
        (["clean", "--max-rejected", "nan"], 2, "IADSR-OPTION-RANGE: --max-rejected is out of range"),
        (
            ["evaluate", "--interactions", "i", "--embeddings", "e", "--seeds", "0"],
            2,
            "IADSR-OPTION-RANGE: --seeds is out of range",
        ),
        (["verify", "nowhere"], 1, "IADSR-OUTPUT-UNFINISHED: nowhere holds no finished run"),
        (
            ["demo", "--output", "gs://bucket/demo"],
            1,
            "IADSR-DEMO-REMOTE: MovieLens-100K is kept in a directory",
        ),
        (["demo", "--output", "/dev/null/demo"], 1, "IADSR-DEMO-WRITE: MovieLens-100K cannot be written to /dev/null"),
        (
            ["demo", "--output", "s4://bucket/demo", "--interactions", "a", "--items", "b"],
            1,
            "IADSR-FILE-LIST: Cannot list s4://bucket/demo/embeddings",
        ),
        (["clean", "--no-such-flag"], 2, "No such option: --no-such-flag"),
        (["clean", "-drop-rate", "0.3"], 2, "did you mean --drop-rate?"),
        (["clean", "-t", "0.9"], 2, "No such option: -t"),
        (["demo", "-o", "mydir"], 2, "No such option: -o"),
        (["clean", "--direct_num_workers", "2", "2"], 2, "Unexpected argument: 2"),
        (["demo", "--user-column", "u"], 2, "Column options are given, but no files of your own"),
        (["demo", "--runner=PrismRunner", "--output", "d"], 1, "IADSR-OUTPUT-CONTAINER"),
        (
            ["evaluate", "--interactions", "i", "--embeddings", "e", "--runner=PrismRunner"],
            2,
            "evaluate runs on this machine only",
        ),
        (["embed", "--items", "i", "--output", "o", "--runner=SparkRunner"], 2, "embed runs on this machine only"),
        (
            ["train", "--interactions", "i", "--embeddings", "e", "--output", "o", "--runner=SparkRunner"],
            2,
            "train runs on this machine only",
        ),
        (["clean"], 1, "No file found at nowhere"),
        (["clean", "--config", "nowhere.yaml"], 1, "Cannot read the configuration"),
    ],
)
def test_mistakes_are_told_without_a_stack_trace(arguments, code, words, tmp_path):
    required = {
        "clean": ["--interactions", "nowhere", "--embeddings", "e", "--model", "m", "--output", "o"],
        "train": ["--interactions", "nowhere", "--embeddings", "e", "--output", "o"],
    }.get(arguments[0], [])
    missing = words.startswith("Missing")
    result = iadsr(*arguments, *([] if missing else required), cwd=tmp_path, env={"COLUMNS": "200"})
    assert result.returncode == code, result.stderr
    assert words in flat(result.stderr)
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_clean_from_a_configuration_file_with_a_flag_that_wins(world, tmp_path):
    config = tmp_path / "clean.yaml"
    config.write_text(
        f"interactions: {world.interactions}\nembeddings: {world.embeddings}\nmodel: {world.model}\n"
        "drop-rate: 0.2\nmin_length: 2\nbeam:\n  runner: DirectRunner\n  direct_num_workers: 2\n"
    )
    output = tmp_path / "out"
    result = iadsr("clean", "--config", config, "--output", output, "--drop-rate", 0.05)
    assert result.returncode == 0, result.stderr
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["policy"]["drop_rate"] == 0.05
    assert manifest["policy"]["min_length"] == 2
    assert manifest["options"]["beam"]["direct_num_workers"] == 2
    assert f"Dropped {manifest['rows']['dropped']:,} of 3,200 interactions" in result.stdout
    assert str(output / "report.html") in result.stdout
    assert "INFO" not in result.stderr
    assert "WARNING" not in result.stderr
    by_threshold = iadsr("clean", "--config", config, "--output", tmp_path / "other", "--threshold", 0.9)
    assert by_threshold.returncode == 0, by_threshold.stderr
    assert json.loads((tmp_path / "other" / "manifest.json").read_text())["policy"]["rule"] == "threshold"
    again = iadsr("clean", "--config", config, "--output", output)
    assert again.returncode == 1
    assert "already holds a finished run" in again.stderr


def test_the_doctor_looks_at_what_a_configuration_of_clean_names(world, tmp_path):
    config = tmp_path / "clean.yaml"
    config.write_text(f"interactions: {world.interactions}\ndrop_rate: 0.1\nshuffle: bytes\n")
    items = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ["item-01", "item-02"], "title": ["a", "b"], "brand": ["c", None]}), items)
    result = iadsr("doctor", "--config", config, "--shards", 4, "--items", items, "--text-columns", "brand")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3,200 rows in 2 files" in result.stdout
    assert "2 items, 1 with text from brand" in result.stdout
    config.write_text(f"interactions: {world.interactions}\ndrop_rte: 0.1\n")
    misspelt = iadsr("doctor", "--config", config)
    assert misspelt.returncode == 1
    assert "did you mean drop_rate?" in misspelt.stderr


def test_train_and_clean_a_log_from_the_command_line(world, tmp_path):
    model, output = tmp_path / "model", tmp_path / "out"
    inputs = ["--interactions", world.with_bad_input(tmp_path / "log"), "--embeddings", world.embeddings]
    trained = iadsr("train", *inputs, "--output", model, "--seed", 3, "--on-bad-file", "skip")
    assert trained.returncode == 0, trained.stderr
    assert "AUROC" in trained.stdout
    assert f"Left out: 1 file: Cannot read {tmp_path}/log/c.parquet (FILE-READ)." in trained.stdout
    assert "Unusable, left out: 1 row (null user_id 1)." in trained.stdout
    assert sorted(p.name for p in model.iterdir()) == ["README.md", "collaborative", "config.json", "model.safetensors"]
    cleaned = iadsr(
        "clean",
        "--interactions",
        world.interactions,
        "--embeddings",
        world.embeddings,
        "--model",
        model,
        "--output",
        output,
    )
    assert cleaned.returncode == 0, cleaned.stderr
    assert len(pq.read_table(output / "interactions")) == 3200
    refused = iadsr("train", "--interactions", world.interactions, "--embeddings", world.embeddings, "--output", model)
    assert refused.returncode == 1
    assert "already holds a model" in refused.stderr


def test_a_log_and_embeddings_of_different_items_are_refused_by_train(world, tmp_path):
    pq.write_table(pa.table({"user_id": ["a"], "item_id": ["b"], "timestamp": [1]}), tmp_path / "log.parquet")
    result = iadsr(
        "train",
        "--interactions",
        tmp_path / "log.parquet",
        "--embeddings",
        world.embeddings,
        "--output",
        tmp_path / "model",
    )
    assert result.returncode == 1
    assert "know none of the log's items" in flat(result.stderr)
    assert not (tmp_path / "model").exists()


def test_a_failure_in_a_worker_process_is_told_once_and_without_a_stack_trace(world, tmp_path):
    log = tmp_path / "log.parquet"
    pq.write_table(world.log(), log, compression="none", use_dictionary=False)
    data = bytearray(log.read_bytes())
    data[4:200] = b"\xff" * 196  # the first data page; the footer stays whole
    log.write_bytes(data)
    paths = [
        "--interactions",
        log,
        "--embeddings",
        world.embeddings,
        "--model",
        world.model,
        "--output",
        tmp_path / "o",
    ]
    result = iadsr("clean", *paths, "--direct_num_workers=2")
    assert result.returncode == 1
    assert result.stderr.count("Cannot read row groups") == 1
    assert "Traceback" not in result.stderr


def test_control_characters_in_a_path_do_not_reach_the_terminal(tmp_path):
    result = iadsr("clean", "--interactions", "a\n\x1b[31mb", "--embeddings", "e", "--model", "m", "--output", "o")
    assert result.returncode == 1
    assert "IADSR-FILE-NONE: No file found at a\\n\\x1b[31mb" in flat(result.stderr)
    assert "\x1b" not in result.stderr


def test_a_terminal_of_few_characters_is_told_what_it_can_show():
    code = "from iadsr.pipeline.cli import app as cli; cli.app = lambda **_: cli._out.print('0.1±0.2'); cli.main()"
    environment = {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode, result.stdout) == (0, "0.1\\xb10.2\n")


def test_paths_with_brackets_are_printed_as_they_are(capsys):
    cli._out.print("  Report  out/[x] :100: y/report.html")
    assert capsys.readouterr().out == "  Report  out/[x] :100: y/report.html\n"
