import importlib.util
import json
import re
from pathlib import Path

import pytest
import typer
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)

from iadsr.pipeline.cli.app import app
from iadsr.pipeline.cli.config_file import read_config
from iadsr.pipeline.engines.runner import beam_options, flags_from_config, runs_here

FOLDER = Path(__file__).parents[2] / "runner_configs"
CLEAN = typer.main.get_command(app).commands["clean"]  # pyright: ignore[reportAttributeAccessIssue]


def load(path: Path):
    values, section = read_config(path, CLEAN)
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
    assert flex_template.command_line(["--drop_rate=0.1", "--output=gs://a_b/c=d", "--temp_location=gs://a"]) == [
        "clean",
        "--drop-rate=0.1",
        "--output=gs://a_b/c=d",
        "--temp_location=gs://a",
    ]


def test_every_template_parameter_is_an_option(flex_template):
    ours = {flag for parameter in CLEAN.params for flag in parameter.opts}
    parameters = json.loads((FOLDER / "flex_template.json").read_text(encoding="utf-8"))["parameters"]
    for parameter in parameters:
        flag = flex_template.command_line([f"--{parameter['name']}=1"])[1].partition("=")[0]
        assert flag in ours or beam_options([f"{flag}=1"])
    assert {p["name"] for p in parameters if not p.get("isOptional")} == {
        parameter.name for parameter in CLEAN.params if parameter.required
    }


def test_the_image_carries_the_versions_that_are_pinned():
    pins = (FOLDER.parent / "constraints.txt").read_text(encoding="utf-8")
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    (version,) = re.findall(r"ARG BEAM_VERSION=(\S+)", dockerfile)
    assert f"apache-beam=={version}\n" in pins
    for folder in re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE):
        assert (FOLDER.parent / folder / "py.typed").exists()
