"""Runs of `clean` on real engines: the same bytes as on this machine, whatever dies meanwhile; or one clear error."""

import os
import signal
import socket
import time

import pytest

from tests.engines.runs import OPTIONS, assert_same, command_of

BOTH = pytest.mark.parametrize(("shuffle", "join"), [("claim-check", "broadcast"), ("bytes", "shuffle")])


@BOTH
@pytest.mark.parametrize("engine", ["spark", "flink", "prism"])
def test_the_bytes_are_those_of_a_run_on_this_machine(engine, shuffle, join, start, local, request):
    run = start(request.getfixturevalue(engine), *OPTIONS, "--shuffle", shuffle, "--join", join)
    said = run.wait()
    assert run.process.returncode == 0, said
    assert_same(run.output, local)


def test_spark_on_this_machine_needs_no_cluster(spark_here, start, local):
    run = start(spark_here, *OPTIONS)
    said = run.wait()
    assert run.process.returncode == 0, said
    assert_same(run.output, local)


def test_a_python_worker_that_is_killed_is_replaced_with_its_executor(spark, start, local):
    run = start(spark, *OPTIONS)
    run.wait_for_shards(spark.python_workers)
    executors = spark.below("CoarseGrainedExecutorBackend")
    os.kill(spark.python_workers()[0], signal.SIGKILL)
    said = run.wait()
    assert run.process.returncode == 0, said
    assert_same(run.output, local)
    assert "Lost executor" in said
    assert executors


def test_an_executor_that_is_killed_is_replaced(spark, start, local):
    run = start(spark, *OPTIONS, "--shuffle", "bytes")
    run.wait_for_shards()
    os.kill(spark.below("CoarseGrainedExecutorBackend")[0], signal.SIGKILL)
    said = run.wait()
    assert run.process.returncode == 0, said
    assert_same(run.output, local)


def test_a_python_worker_that_is_killed_on_flink_is_told_and_the_run_resumes(flink, start, local):
    run = start(flink, *OPTIONS)
    run.wait_for_shards(flink.python_workers)
    os.kill(flink.python_workers()[0], signal.SIGKILL)
    said = run.wait()
    if run.process.returncode:
        assert run.process.returncode == 6, said
        assert "IADSR-ENGINE-JOB" in said
        assert "bug" not in said
        run = start(flink, *OPTIONS)
        assert "Resuming" in run.wait()
    assert_same(run.output, local)


def test_a_job_server_that_is_killed_is_told_and_the_run_resumes(spark, start, local):
    run = start(spark, *OPTIONS)
    run.wait_for_shards()
    (server,) = [process for process, command in run.below().items() if "SparkJobServerDriver" in command][-1:]
    os.kill(server, signal.SIGKILL)
    said = run.wait()
    assert run.process.returncode == 6, said
    assert "IADSR-ENGINE-JOB" in said
    assert "resumes" in said
    run = start(spark, *OPTIONS)
    assert "Resuming" in run.wait()
    assert_same(run.output, local)


def test_the_job_server_ends_with_a_run_that_is_killed(spark, start, local):
    run = start(spark, *OPTIONS)
    run.wait_for_shards()
    started = run.below()
    assert started
    run.process.kill()
    run.process.wait()
    deadline = time.monotonic() + 60
    while any(command_of(process) for process in started) or spark.python_workers():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    run = start(spark, *OPTIONS)
    assert "Resuming" in run.wait()
    assert_same(run.output, local)


@pytest.mark.parametrize("scheme", ["spark", "flink"])
def test_an_address_where_nobody_listens_is_told_in_seconds(scheme, start):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    started = time.monotonic()
    run = start(None, *OPTIONS, "--engine", f"{scheme}://127.0.0.1:{port}")
    said = run.wait()
    assert run.process.returncode == 6, said
    assert "IADSR-ENGINE-REACH" in said
    assert "Connection refused" in said
    assert not run.output.exists()
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("engine", ["spark", "flink", "prism"])
def test_the_doctor_has_the_workers_answer(engine, start, request):
    run = start(request.getfixturevalue(engine), command="doctor")
    said = run.wait()
    assert run.process.returncode == 0, said
    assert "Workers               the same versions as here" in said
    assert "they see all paths" in said
    assert not list(run.output.parent.glob(".tmp-*"))


def test_the_doctor_tells_what_a_worker_misses(spark, start):
    variables = '{"command": "%s", "env": {"IADSR_SUBMITTED_BY": "python 2.7.18, iadsr 0.0.1"}}'
    from iadsr.pipeline.engines.engine import worker_program

    run = start(
        spark, "--environment_type=PROCESS", f"--environment_config={variables % worker_program()}", command="doctor"
    )
    said = run.wait()
    assert run.process.returncode == 1, said
    assert "PROBLEM  Workers               IADSR-ENGINE-VERSIONS" in said
    assert "python 2.7.18, iadsr 0.0.1" in said


def test_a_setting_that_the_engine_does_not_know_is_refused_before_anything_is_written(spark, start):
    run = start(spark, *OPTIONS, "--engine-options", "storage_levl=DISK_ONLY")
    said = run.wait()
    assert run.process.returncode == 2, said
    assert "did you mean storage_level?" in said
    assert not run.output.exists()
