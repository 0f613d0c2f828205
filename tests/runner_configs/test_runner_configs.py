import importlib.util
import json
import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    SetupOptions,
    WorkerOptions,
)

from iadsr.models.core.option import options_of
from iadsr.pipeline.cli.config_file import read_config
from iadsr.pipeline.cli.template_parameters import LEFT_OUT, describe_template
from iadsr.pipeline.commands.command_options import CleanOptions
from iadsr.pipeline.commands.keyword_function import build_options
from iadsr.pipeline.engines.beam_flags import flags_from_config
from iadsr.pipeline.engines.engine import open_engine
from iadsr.pipeline.engines.engine_options import Address
from iadsr.pipeline.engines.runner import beam_options, runs_here

FOLDER = Path(__file__).parents[2] / "runner_configs"


def load(path: Path):
    values, section = read_config(path, "clean", options_of(CleanOptions), {})
    return values, beam_options(flags_from_config(section))


def test_the_local_configuration_means_two_processes_of_the_in_process_runner():
    values, options = load(FOLDER / "local.yaml")
    assert runs_here(options)
    assert options.view_as(DirectOptions).direct_num_workers == 2
    assert values["drop_rate"] == 0.1


def test_the_spark_configuration_names_a_cluster_and_its_settings():
    values, _ = load(FOLDER / "spark.yaml")
    options = build_options(CleanOptions, values).engine
    assert options.address == Address("spark", (("host", 7077),))
    assert options.settings["spark.executor.memory"] == "2g"


def test_the_dataflow_configuration_is_one_that_beam_knows():
    values, beam = load(FOLDER / "dataflow.yaml")
    asked = build_options(CleanOptions, values).engine
    with open_engine(asked, beam, shards=4) as engine:
        options = engine.options
    assert engine.runner == "DataflowRunner"
    assert options.view_as(GoogleCloudOptions).project == "PROJECT"
    assert options.view_as(WorkerOptions).sdk_container_image.endswith("iadsr:0.1.0")
    assert options.view_as(WorkerOptions).machine_type == "n2-standard-4"
    assert options.view_as(DebugOptions).number_of_worker_harness_threads == 1
    assert options.view_as(SetupOptions).sdk_location == "container"


@pytest.mark.parametrize("name", ["spark.yaml", "dataflow.yaml"])
def test_settings_that_are_commented_out_can_be_used_too(name, tmp_path):
    text = (FOLDER / name).read_text(encoding="utf-8")
    path = tmp_path / name
    path.write_text(re.sub(r"^( *)# ([a-z_]+: )", r"\1\2", text, flags=re.MULTILINE), encoding="utf-8")
    values, _ = load(path)
    _ = build_options(CleanOptions, values)


@pytest.fixture(scope="module")
def flex_template():
    spec = importlib.util.spec_from_file_location("flex_template", FOLDER / "flex_template.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_template_parameters_become_options_of_clean(flex_template):
    given = ["--drop_rate=0.1", "--output=gs://a_b/c=d", "--temp_location=gs://a"]
    assert flex_template.command_line(given) == ["clean", *given]
    assert flex_template.command_line(["--runner=DataflowRunner", "--help"]) == ["clean", "--engine=dataflow", "--help"]


@pytest.mark.parametrize(
    ("value", "expected"), [("true", ["--overwrite"]), ("False", []), ("perhaps", ["--overwrite=perhaps"])]
)
def test_a_switch_of_the_template_is_there_or_not(flex_template, value, expected):
    assert flex_template.command_line([f"--overwrite={value}"]) == ["clean", *expected]


def test_the_template_is_what_the_options_of_clean_give():
    written = json.loads((FOLDER / "flex_template.json").read_text(encoding="utf-8"))
    assert written == describe_template(), "run: python -m iadsr.pipeline.cli.template_parameters"


def test_every_template_parameter_is_an_option():
    parameters = describe_template()["parameters"]
    ours = options_of(CleanOptions)
    for parameter in parameters:
        assert parameter["name"] in ours or beam_options([f"--{parameter['name']}=1"])
    assert {p["name"] for p in parameters if not p.get("isOptional")} == {"interactions", "output"}
    assert {p["name"] for p in parameters} >= set(ours) - LEFT_OUT


def test_the_image_carries_the_versions_that_are_pinned():
    pins = (FOLDER.parent / "constraints.txt").read_text(encoding="utf-8")
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    (version,) = re.findall(r"ARG BEAM_VERSION=(\S+)", dockerfile)
    assert f"apache-beam=={version}\n" in pins
    for folder in re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE):
        assert (FOLDER.parent / folder / "py.typed").exists()
