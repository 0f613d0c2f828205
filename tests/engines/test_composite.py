"""`CleanInteractions` in a pipeline of one's own on real engines: the decisions of `clean` on this machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.clusters import descendants
from tests.engines.runs import RUN_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
KEY = [(name, "ascending") for name in ("user_id", "timestamp", "item_id", "rating")]


@pytest.fixture(scope="session")
def cleaned(world, tmp_path_factory) -> pa.Table:
    """What `clean` makes of the world's log."""
    from iadsr.pipeline import clean

    output = str(tmp_path_factory.mktemp("cleaned") / "out")
    clean(interactions=world.interactions, embeddings=world.embeddings, model=world.model, output=output)
    return pq.read_table(f"{output}/interactions").sort_by(KEY)


@pytest.fixture
def start(world, tmp_path):
    """Starts the program of docs/python.md, word for word but for its paths and the address."""
    for name, source in (("log", world.interactions), ("model", world.model), ("embeddings", world.embeddings)):
        shutil.copytree(source, tmp_path / name)
    started = []

    def start(cluster) -> subprocess.Popen:
        (program,) = [
            text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "open_engine" in text
        ]
        words = dict(zip(cluster.arguments[::2], cluster.arguments[1::2], strict=True))
        settings = (words["--engine-options"],) if "--engine-options" in words else None
        options = f"{words['--engine']!r}, {settings!r}, {words.get('--job-server-jar')!r}"
        assert program.count('"spark://HOST:7077"') == 1
        program = program.replace('"spark://HOST:7077"', options).replace("/shared/", f"{tmp_path}/")
        (tmp_path / "program.py").write_text(program)
        process = subprocess.Popen(
            [sys.executable, "program.py"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **cluster.environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait()


def written(folder: Path, schema: pa.Schema) -> pa.Table:
    lines = [line for path in folder.glob("cleaned-*.jsonl") for line in path.read_text().splitlines()]
    return pa.Table.from_pylist([json.loads(line) for line in lines], schema=schema).sort_by(KEY)


@pytest.mark.parametrize("engine", ["spark", "flink"])
def test_the_program_in_the_documents_decides_as_the_clean_command_does(engine, start, cleaned, tmp_path, request):
    process = start(request.getfixturevalue(engine))
    said, _ = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, said
    assert written(tmp_path, cleaned.schema).equals(cleaned)


def test_a_step_that_spark_repeats_decides_nothing_else(spark, start, cleaned, tmp_path):
    process = start(spark)
    while not list(tmp_path.glob("staging/clean-*/ruled-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(spark.below("CoarseGrainedExecutorBackend")[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, said
    assert "Lost executor" in said
    assert written(tmp_path, cleaned.schema).equals(cleaned)
    assert not descendants([process.pid])
