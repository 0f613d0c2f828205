import pytest

from iadsr.models.core.errors import EngineError
from iadsr.pipeline.engines import probe
from iadsr.pipeline.engines.engine_options import EngineOptions
from iadsr.pipeline.engines.probe import Question, answer, for_probe
from iadsr.pipeline.engines.versions import as_text, installed_versions

HERE = as_text(installed_versions())


def test_a_probe_on_spark_does_not_try_again():
    plain = EngineOptions(engine="spark://host:7077", engine_options=("spark.executor.memory=4g",))
    assert dict(for_probe(plain).settings) == {"spark.executor.memory": "4g", "spark.task.maxFailures": "1"}
    chosen = EngineOptions(engine="spark://host:7077", engine_options=("spark.task.maxFailures=2",))
    for asked in (chosen, EngineOptions(engine="flink://host:8081"), EngineOptions()):
        assert for_probe(asked) is asked


def test_a_worker_with_all_it_needs_answers_with_the_name_of_its_machine(tmp_path):
    assert answer(Question(HERE, (str(tmp_path),), str(tmp_path), 1)) == probe.platform.node()


@pytest.mark.parametrize(
    ("versions", "path", "room", "code"),
    [
        ("python 2.7.18, iadsr 0.0.1", "", 1, "ENGINE-VERSIONS"),
        (HERE, "missing", 1, "ENGINE-PATH"),
        (HERE, "", 1 << 60, "ENGINE-ROOM"),
    ],
)
def test_a_worker_says_what_it_misses(tmp_path, versions, path, room, code):
    with pytest.raises(EngineError) as error:
        answer(Question(versions, (str(tmp_path / path),), None, room))
    assert error.value.code == code
