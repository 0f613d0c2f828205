import importlib.util
import json
import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)

from iadsr.models.core.option import options_of
from iadsr.pipeline.cli.config_file import read_config
from iadsr.pipeline.cli.template_parameters import describe_template
from iadsr.pipeline.commands.command_options import CleanOptions
from iadsr.pipeline.engines.beam_flags import flags_from_config
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


def test_the_spark_configuration_is_one_that_beam_knows():
    values, options = load(FOLDER / "spark.yaml")
    assert options.view_as(StandardOptions).runner == "SparkRunner"
    assert options.view_as(SparkRunnerOptions).spark_master_url == "local[*]"
    assert options.view_as(PortableOptions).environment_type == "LOOPBACK"
    assert values["shuffle"] == "bytes"


def test_the_dataflow_configuration_is_one_that_beam_knows():
    values, options = load(FOLDER / "dataflow.yaml")
    assert options.view_as(StandardOptions).runner == "DataflowRunner"
    assert options.view_as(GoogleCloudOptions).project == "PROJECT"
    assert options.view_as(WorkerOptions).sdk_container_image.endswith("iadsr:0.1.0")
    assert options.view_as(DebugOptions).number_of_worker_harness_threads == 1
    assert values["shuffle"] == "bytes"


@pytest.mark.parametrize("name", ["spark.yaml", "dataflow.yaml"])
def test_settings_that_are_commented_out_are_ones_that_beam_knows_too(name, tmp_path):
    # A commented setting replaces the active one of the same name: keep the last of each.
    lines, settings = (FOLDER / name).read_text(encoding="utf-8").splitlines(), {}
    for line in lines[lines.index("beam:") + 1 :]:
        if match := re.fullmatch(r"  (?:# )?(\w+): (\S+)(?: .*)?", line):
            settings[match[1]] = f"  {match[1]}: {match[2]}"
    path = tmp_path / name
    path.write_text("\n".join([*lines[: lines.index("beam:") + 1], *settings.values()]), encoding="utf-8")
    load(path)


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
    assert {p["name"] for p in parameters if not p.get("isOptional")} == {
        name for name, option in ours.items() if option.required
    }
    assert {p["name"] for p in parameters} >= set(ours)


def test_the_image_carries_the_versions_that_are_pinned():
    pins = (FOLDER.parent / "constraints.txt").read_text(encoding="utf-8")
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    (version,) = re.findall(r"ARG BEAM_VERSION=(\S+)", dockerfile)
    assert f"apache-beam=={version}\n" in pins
    for folder in re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE):
        assert (FOLDER.parent / folder / "py.typed").exists()
