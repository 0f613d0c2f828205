import pytest

from iadsr.models.core.errors import UsageError
from iadsr.pipeline.engines.engine_options import Address, EngineOptions, parse_address, without_secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spark://10.0.0.5:7077", Address("spark", (("10.0.0.5", 7077),))),
        ("SPARK://Master", Address("spark", (("master", 7077),))),
        ("spark://a:1,b:2", Address("spark", (("a", 1), ("b", 2)))),
        ("spark://[::1]:7077/", Address("spark", (("::1", 7077),))),
        ("spark://local", Address("spark", cores=1)),
        ("spark://local[3]", Address("spark", cores=3)),
        ("spark://local[*]", Address("spark", cores=0)),
        ("spark://local:7077", Address("spark", (("local", 7077),))),
        ("flink://jobs_1.example", Address("flink", (("jobs_1.example", 8081),))),
        ("flink://local[2]", Address("flink", cores=2)),
        ("prism", Address("prism")),
        ("dataflow", Address("dataflow")),
        ("Dataflow://", Address("dataflow")),
    ],
)
def test_an_address_names_an_engine_and_where_it_listens(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("yarn", "ENGINE-NAME", "spark-submit"),
        ("k8s://https://h:6443", "ENGINE-NAME", "spark-submit"),
        ("http://h:8081", "ENGINE-NAME", "flink://h:8081"),
        ("local[2]", "ENGINE-NAME", "spark://local[2]"),
        ("spark", "ENGINE-NAME", "spark://HOST:7077"),
        ("ray://h:1", "ENGINE-NAME", "--runner"),
        ("prism://h:1", "ENGINE-NAME", "--runner"),
        ("", "ENGINE-NAME", "--runner"),
        ("spark://", "ENGINE-ADDRESS", "host and a port"),
        ("spark://h:x", "ENGINE-ADDRESS", "host and a port"),
        ("spark://h:0", "ENGINE-ADDRESS", "host and a port"),
        ("spark://h:65536", "ENGINE-ADDRESS", "host and a port"),
        ("spark://h:1,", "ENGINE-ADDRESS", "host and a port"),
        ("spark://user@h:1", "ENGINE-ADDRESS", "host and a port"),
        ("spark://h:1/jobs", "ENGINE-ADDRESS", "host and a port"),
        ("spark://h 2:1", "ENGINE-ADDRESS", "host and a port"),
        ("spark://local[x]", "ENGINE-ADDRESS", "host and a port"),
    ],
)
def test_what_names_no_engine_is_refused_with_what_to_write(text, code, words):
    with pytest.raises(UsageError) as error:
        EngineOptions(engine=text)
    assert error.value.code == code
    assert words in str(error.value)


def test_settings_have_names_and_values():
    options = EngineOptions(
        engine="spark://h", engine_options=("spark.executor.memory=4g", "storage-level = DISK_ONLY", "x=a=b")
    )
    assert options.settings == {"spark.executor.memory": "4g", "storage_level": "DISK_ONLY", "x": "a=b"}


@pytest.mark.parametrize("settings", [("spark.executor.memory",), ("=4g",), ("a=1", "a=2"), ("a-b=1", "a_b=2")])
def test_a_setting_without_a_value_or_given_twice_is_refused(settings):
    with pytest.raises(UsageError) as error:
        EngineOptions(engine="spark://h", engine_options=settings)
    assert error.value.code == "ENGINE-SETTING"


@pytest.mark.parametrize(
    "options",
    [
        {"engine_options": ("a=1",)},
        {"job_server_jar": "a.jar"},
        {"engine": "prism", "job_server_jar": "a.jar"},
        {"engine": "dataflow", "job_server_jar": "a.jar"},
    ],
)
def test_what_no_engine_takes_is_refused(options):
    with pytest.raises(UsageError) as error:
        EngineOptions(**options)
    assert error.value.code == "ENGINE-USELESS"


def test_secrets_are_not_recorded():
    options = EngineOptions(engine="spark://h", engine_options=("spark.hadoop.fs.s3a.secret.key=x", "bundle_size=1"))
    assert options.recorded()["engine_options"] == ["spark.hadoop.fs.s3a.secret.key=(hidden)", "bundle_size=1"]
    inside = "process_variables=AWS_SECRET_ACCESS_KEY=x"
    assert EngineOptions(engine="flink://h", engine_options=(f"environment_options={inside}",)).recorded()[
        "engine_options"
    ] == ["environment_options=(hidden)"]
    assert EngineOptions().recorded() == {"engine": None, "engine_options": None, "job_server_jar": None}


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("s3_secret_access_key", "x", True),
        ("environment_options", ["process_variables=A=b"], True),
        ("environment_config", '{"command": "boot", "env": {"A": "b"}}', True),
        ("environment_config", '{"command": "boot"}', False),
        ("setting", "My_Password: x", True),
        ("temp_location", "s3://monkey/tokens", False),
        ("bundle_size", 7, False),
    ],
)
def test_what_may_be_secret_is_hidden(name, value, hidden):
    assert without_secrets(name, value) == ("(hidden)" if hidden else value)
