import http.server
import json
import socket
import threading

import pytest
from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions

from iadsr.models.core.errors import EngineError, UsageError
from iadsr.pipeline.engines.engine import (
    _merged,
    _process,
    _sorted_settings,
    describe_engine,
    open_engine,
    reach,
    spark_submit,
)
from iadsr.pipeline.engines.engine_options import Address, EngineOptions, parse_address
from iadsr.pipeline.engines.runner import beam_options
from iadsr.pipeline.engines.versions import as_text, installed_versions


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def flink_page():
    """A web server that answers as Flink's job manager does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"flink-version": "1.19.0", "slots-total": 4}).encode()
            self.send_response(200 if self.path == "/overview" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_an_address_where_nobody_listens_is_told_at_once(closed_port):
    with pytest.raises(EngineError) as error:
        reach(parse_address(f"spark://127.0.0.1:{closed_port},127.0.0.1:{closed_port}"))
    assert error.value.code == "ENGINE-REACH"
    assert error.value.found.count("Connection refused") == 2


def test_of_several_masters_one_has_to_answer(closed_port, flink_page):
    reached = reach(parse_address(f"spark://127.0.0.1:{closed_port},127.0.0.1:{flink_page}"))
    assert reached.this_machine == "127.0.0.1"


def test_flink_tells_its_version_and_slots(flink_page):
    assert describe_engine(parse_address(f"flink://127.0.0.1:{flink_page}")) == (
        f"Flink 1.19.0 answers at 127.0.0.1:{flink_page}, 4 task slots"
    )


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_what_is_no_flink_is_told(says):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            while True:
                try:
                    with listener.accept()[0] as connection:
                        connection.recv(1 << 16)
                        connection.sendall(says)
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(EngineError) as error:
            reach(parse_address(f"flink://127.0.0.1:{listener.getsockname()[1]}"))
    assert error.value.code == "ENGINE-FLINK"


def test_without_an_engine_beams_own_flags_hold():
    given = beam_options([])
    with open_engine(EngineOptions(), given, 4) as engine:
        assert engine.here
        assert engine.options is given


def test_an_engine_and_a_runner_exclude_each_other():
    for flag in ("--runner=DirectRunner", "--job_endpoint=localhost:1"):
        with (
            pytest.raises(UsageError) as error,
            open_engine(EngineOptions(engine="spark://h"), beam_options([flag]), 4),
        ):
            pass
        assert error.value.code in ("ENGINE-RUNNER",)


def test_settings_go_to_beam_to_spark_or_to_the_engine():
    asked = EngineOptions(
        engine="spark://h",
        engine_options=("sdk_worker_parallelism=3", "spark.executor.memory=4g", "storage_level=DISK_ONLY"),
    )
    known, properties, others = _sorted_settings(asked, Address("spark"))
    assert known == {"sdk_worker_parallelism": "3"}
    assert properties == {"spark.executor.memory": "4g"}
    assert others == {"storage_level": "DISK_ONLY"}
    with pytest.raises(UsageError) as error:
        _sorted_settings(EngineOptions(engine="flink://h", engine_options=("taskmanager.x=1",)), Address("flink"))
    assert error.value.code == "ENGINE-PROPERTY"


def test_a_job_on_dataflow_needs_a_project_a_region_and_a_bucket():
    asked = EngineOptions(engine="dataflow")
    with pytest.raises(UsageError) as error, open_engine(asked, beam_options([]), 4):
        pass
    assert error.value.code == "ENGINE-DATAFLOW"
    asked = EngineOptions(
        engine="dataflow", engine_options=("project=p", "region=r", "temp_location=gs://b/t", "use_public_ips=false")
    )
    with open_engine(asked, beam_options(["--max_num_workers=3"]), 4) as engine:
        assert engine.runner == "DataflowRunner"
        assert engine.options.view_as(GoogleCloudOptions).project == "p"
        assert engine.options.view_as(DebugOptions).number_of_worker_harness_threads == 1
        assert not engine.here
        assert engine.server is None


def test_the_command_that_starts_a_jar_has_the_safe_settings():
    words = spark_submit(6, {"spark.executor.memory": "4g", "spark.default.parallelism": "9"})
    assert "--conf spark.default.parallelism=9" in words
    assert "--conf spark.executor.memory=4g" in words
    assert "SparkRunnerKryoRegistrator" in words
    assert "hunter2" not in spark_submit(6, {"spark.hadoop.fs.s3a.secret.key": "hunter2"})


def test_a_host_that_no_network_can_have_is_told():
    with pytest.raises(EngineError) as error:
        reach(parse_address("spark://a..b:7077"))
    assert error.value.code == "ENGINE-REACH"


def test_workers_are_started_by_our_program_where_the_user_says_it_is():
    chosen = {"environment_options": ["process_command=/opt/iadsr-worker", "process_variables=A=1,B=2"]}
    options = PipelineOptions.from_dictionary(chosen)
    merged = _merged(_process(options, ends_executor=True, parallelism=3), chosen)
    config = json.loads(merged["environment_config"])
    assert config["command"] == "/opt/iadsr-worker"
    assert config["env"] == {
        "A": "1",
        "B": "2",
        "IADSR_SUBMITTED_BY": as_text(installed_versions()),
        "IADSR_ENDS_EXECUTOR": "1",
    }
    assert merged["environment_type"] == "PROCESS"
    assert merged["sdk_worker_parallelism"] == 3
    assert "environment_options" not in merged


@pytest.mark.parametrize("flags", [["--environment_type=DOCKER"], ["--environment_type=EXTERNAL"]])
def test_other_environments_stay_possible(flags):
    given = beam_options(["--runner=PortableRunner", *flags])
    safe = _process(given, ends_executor=True, parallelism=1)
    assert set(safe) == {"environment_cache_millis", "sdk_worker_parallelism"}
