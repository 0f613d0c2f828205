import os
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from iadsr.models.core.errors import EngineError
from iadsr.pipeline.engines import job_server as module
from iadsr.pipeline.engines.job_server import (
    DRIVERS,
    find_jar,
    find_java,
    java_command,
    java_version,
    prism_command,
    running,
    spark_class_path,
    version_in_class_path,
)

LISTEN = "import socket, sys, time\nl = socket.create_server(('localhost', int(sys.argv[1])))\ntime.sleep(100)\n"


def jar(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("no such thing", 0),
    ],
)
def test_the_version_of_java_is_read(text, version):
    assert java_version(text) == version


def test_java_is_that_of_java_home_then_of_the_path(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    java = script(tmp_path / "bin" / "java", """echo 'openjdk version "17.0.1"' >&2""")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java("spark") == (str(java), 17)
    other = script(tmp_path / "other", """echo 'openjdk version "21"' >&2""")
    assert find_java("spark", str(other)) == (str(other), 21)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert find_java("spark") == ("java", 17)


@pytest.mark.parametrize(
    "text", ["""echo 'java version "1.8.0"' >&2""", """echo 'openjdk version "25"' >&2""", "exit 1", None]
)
def test_a_java_that_is_old_new_or_missing_is_told(text, tmp_path):
    path = tmp_path / "java"
    if text is not None:
        script(path, text)
    with pytest.raises(EngineError) as error:
        find_java("spark", str(path))
    assert error.value.code == "ENGINE-JAVA"
    assert "JAVA_HOME" in str(error.value)


def test_a_jar_is_that_of_the_engines_job_server(tmp_path):
    path = jar(tmp_path / "a.jar", **{DRIVERS["spark"].replace(".", "/") + ".class": ""})
    assert find_jar("spark", str(path), None) == path
    (tmp_path / "text.jar").write_text("no jar")
    for kind, given in (("flink", path), ("spark", tmp_path / "text.jar"), ("spark", tmp_path / "none.jar")):
        with pytest.raises(EngineError) as error:
            find_jar(kind, str(given), "1.19")
        assert error.value.code == "ENGINE-JAR"


def test_a_jar_that_cannot_be_downloaded_is_told_by_its_name(tmp_path, monkeypatch):
    def refuse(url, cache):
        raise RuntimeError(f"Unable to fetch {url}:\n no network")

    monkeypatch.setattr(module.JavaJarJobServer, "local_jar", refuse)
    with pytest.raises(EngineError) as error:
        find_jar("flink", None, "1.19", str(tmp_path))
    assert error.value.code == "ENGINE-DOWNLOAD"
    assert error.value.expected.startswith("beam-runners-flink-1.19-job-server-")
    assert "no network" in str(error.value.found)
    assert socket.getdefaulttimeout() is None


def test_a_jar_without_spark_takes_that_of_spark_home(tmp_path, monkeypatch):
    thin = jar(tmp_path / "thin.jar", a="")
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as error:
        spark_class_path(thin)
    assert error.value.code == "ENGINE-SPARK"
    (tmp_path / "spark" / "jars").mkdir(parents=True)
    (tmp_path / "spark" / "jars" / "spark-core_2.12-3.5.9.jar").touch()
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "spark"))
    class_path = spark_class_path(thin)
    assert class_path == f"{thin}{os.pathsep}{tmp_path / 'spark' / 'jars'}/*"
    assert version_in_class_path(class_path, "org.apache.spark", "spark-core") == "3.5.9"
    properties = "META-INF/maven/org.apache.spark/spark-core_2.12/pom.properties"
    fat = jar(tmp_path / "fat.jar", **{"org/apache/spark/SparkContext.class": "", properties: "a=b\nversion=3.5.0\n"})
    assert spark_class_path(fat) == str(fat)
    assert version_in_class_path(str(fat), "org.apache.spark", "spark-core") == "3.5.0"
    assert version_in_class_path(str(thin), "org.apache.spark", "spark-core") is None


def test_the_command_has_properties_before_the_program_and_the_master_after_it():
    command = java_command("java", "a.jar", "spark", {"spark.a": "1"}, "spark://h:1")
    assert command[0] == "java"
    assert command[-5:] == ["-cp", "a.jar", DRIVERS["spark"], "--spark-master-url", "spark://h:1"]
    assert "-Dspark.a=1" in command[: command.index("-cp")]


def test_prism_is_the_one_on_the_path(tmp_path, monkeypatch):
    program = script(tmp_path / "prism", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    command, endpoint = prism_command(None)
    assert command[0] == str(program)
    assert f"--job_port={endpoint.rpartition(':')[2]}" in command
    with pytest.raises(EngineError) as error:
        prism_command(str(tmp_path / "none"))
    assert error.value.code == "ENGINE-PRISM"


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return str(listener.getsockname()[1])


def test_a_job_server_takes_jobs_in_the_block_and_is_gone_after_it(tmp_path):
    port = free_port()
    with running([sys.executable, "-c", LISTEN, port], f"localhost:{port}", tmp_path / "log") as server:
        assert server.process.poll() is None
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("localhost", int(port)), timeout=5)


def test_a_job_server_that_does_not_start_is_told_in_its_own_words(tmp_path):
    program = "import sys; print('INFO a'); print('java.net.BindException: taken'); print('\\tat java.x'); sys.exit(1)"
    with (
        pytest.raises(EngineError) as error,
        running([sys.executable, "-c", program], f"localhost:{free_port()}", tmp_path / "log"),
    ):
        pass
    assert error.value.code == "ENGINE-START"
    assert error.value.found == "java.net.BindException: taken"
    assert str(tmp_path / "log") in str(error.value)


def test_a_job_server_ends_with_a_process_that_is_killed(tmp_path):
    port = free_port()
    program = f"""
import sys, time
from pathlib import Path
from iadsr.pipeline.engines.job_server import running
command = [sys.executable, "-c", {LISTEN!r}, "{port}"]
with running(command, "localhost:{port}", Path({str(tmp_path / "log")!r})):
    print("up", flush=True)
    time.sleep(100)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("localhost", int(port)), timeout=5).close()
        except OSError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
