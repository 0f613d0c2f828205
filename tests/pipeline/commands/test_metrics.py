"""The figures of real runs: events read by the classes of OpenLineage's own client, metrics by Prometheus' parser."""

import importlib
import json
import os
import pkgutil
import shutil
import stat
import types
import typing
from pathlib import Path

import attr
import pytest
from openlineage.client import generated
from openlineage.client.event_v2 import RunEvent
from openlineage.client.serde import Serde
from prometheus_client.parser import text_string_to_metric_families

from iadsr.models.core.errors import InputError, UsageError
from iadsr.pipeline import clean, metrics
from iadsr.transforms.run.run_store import RunMarker, write_marker


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory) -> Path:
    """A dataset directory with two runs."""
    root = tmp_path_factory.mktemp("runs") / "shop"
    paths = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    for day in ("2026-11-27", "2026-11-28"):
        assert clean(**paths, dataset=str(root), run_id=day, drop_rate=0.1).passed
    return root


FACETS = {
    each._get_schema(): each
    for module in pkgutil.iter_modules(generated.__path__)
    for each in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values()
    if hasattr(each, "_get_schema")
}
"""The classes of facets by the addresses of their schemas."""


def read(cls: typing.Any, value: typing.Any) -> typing.Any:
    """Makes an object of the client from JSON. A field that the client does not know is an error."""
    if typing.get_origin(cls) in (typing.Union, types.UnionType):
        return None if value is None else read(typing.get_args(cls)[0], value)
    if typing.get_origin(cls) is list:
        return [read(typing.get_args(cls)[0], each) for each in value]
    if typing.get_origin(cls) is dict:
        return {key: read(typing.get_args(cls)[1], each) for key, each in value.items()}
    if not attr.has(cls):
        return cls(value)
    given = dict(value)
    if "_schemaURL" in given:
        cls = FACETS[given.pop("_schemaURL")]
        given["producer"] = given.pop("_producer")
    else:
        given.pop("schemaURL", None)
    hints = typing.get_type_hints(cls)
    return cls(**{key: read(hints.get(key, str), each) for key, each in given.items()})


def without_empty(value: typing.Any) -> typing.Any:
    if isinstance(value, dict):
        return {key: without_empty(each) for key, each in value.items() if each not in ({}, [])}
    return [without_empty(each) for each in value] if isinstance(value, list) else value


def events(text: str) -> list[dict]:
    """Events, of which the client's classes hold all and nothing else."""
    found = [json.loads(line) for line in text.splitlines()]
    for event in found:
        assert without_empty(Serde.to_dict(read(RunEvent, event))) == without_empty(event)
    return found


def facet(datasets: list[dict], name: str, facets: str, wanted: str) -> dict:
    return next(each for each in datasets if each["name"].endswith(name))[facets][wanted]


def test_a_run_is_a_start_and_a_completion_with_what_it_read_and_wrote(runs, world):
    start, complete = events(metrics(str(runs / "run=2026-11-28"), format="openlineage").text)
    manifest = json.loads((runs / "run=2026-11-28" / "manifest.json").read_text())
    assert (start["eventType"], start["eventTime"]) == ("START", manifest["started_at"])
    assert (complete["eventType"], complete["eventTime"]) == ("COMPLETE", manifest["finished_at"])
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert start["run"]["runId"].replace("-", "") == manifest["run"]
    assert start["job"]["name"] == "clean.shop"
    names = [(each["namespace"], each["name"]) for each in complete["inputs"]]
    assert names == [("file", os.path.abspath(path)) for path in (world.interactions, world.embeddings, world.model)]
    assert [(each["namespace"], each["name"]) for each in start["inputs"]] == names
    # Every run writes the same tables: what differs is their version.
    assert [each["name"] for each in complete["outputs"]] == [
        f"{runs}/{table}" for table in ("interactions", "sequences", "users")
    ]
    log = complete["inputs"]
    assert facet(log, "log", "inputFacets", "inputStatistics")["rowCount"] == 3200
    assert facet(log, "log", "inputFacets", "inputStatistics")["fileCount"] == 2
    assert [each["name"] for each in facet(log, "log", "facets", "schema")["fields"]] == [
        *("user_id", "item_id", "timestamp", "rating")
    ]
    distinct = facet(log, "log", "inputFacets", "dataQualityMetrics")["columnMetrics"]
    assert distinct == {"user_id": {"distinctCount": 400}, "item_id": {"distinctCount": 40}}
    assertions = facet(log, "log", "inputFacets", "dataQualityAssertions")["assertions"]
    assert {"rows_change", "drop_rate", "score_drift"} <= {each["assertion"] for each in assertions}
    assert next(each for each in assertions if each["assertion"] == "rows_change")["actual"] == "0.0%"
    outputs = complete["outputs"]
    assert facet(outputs, "interactions", "outputFacets", "outputStatistics")["rowCount"] == 3200
    assert facet(outputs, "interactions", "facets", "version")["datasetVersion"] == "run=2026-11-28"
    assert {"name": "weight", "type": "float"} in facet(outputs, "interactions", "facets", "schema")["fields"]
    written = sum((runs / "run=2026-11-28" / file["path"]).stat().st_size for file in manifest["outputs"])
    assert sum(each["outputFacets"]["outputStatistics"]["size"] for each in outputs) == written


def test_gates_that_fail_are_assertions_that_fail(runs, tmp_path):
    (tmp_path / "gates.yaml").write_text("drop_rate: {warn: 0.01, fail: 0.02}\nmodel_age: off\n")
    gates = str(tmp_path / "gates.yaml")
    text = metrics(str(runs / "run=2026-11-27"), format="openlineage", gates=gates).text
    assertions = facet(events(text)[1]["inputs"], "log", "inputFacets", "dataQualityAssertions")["assertions"]
    (drop_rate,) = [each for each in assertions if each["assertion"] == "drop_rate"]
    assert not drop_rate["success"]
    assert (drop_rate["severity"], drop_rate["expected"], drop_rate["actual"]) == ("error", "0.02", "10.0%")
    assert "model_age" not in {each["assertion"] for each in assertions}


def test_a_run_that_has_stopped_is_a_failure_and_one_that_never_began_is_an_error(tmp_path):
    (tmp_path / "run=1").mkdir()
    with pytest.raises(InputError, match="holds no finished run"):
        metrics(str(tmp_path / "run=1"), format="openlineage")
    write_marker(str(tmp_path / "run=1"), RunMarker({}, "5995feaa259c74d7510bd25ac32ff6f1", ready=True))
    (event,) = events(metrics(f"{tmp_path}/run=1/", format="openlineage", name="shop").text)
    assert event["eventType"] == "FAIL"
    assert event["run"]["runId"] == "5995feaa-259c-74d7-510b-d25ac32ff6f1"
    assert event["job"]["name"] == "clean.shop"
    assert event["run"]["facets"]["errorMessage"]["programmingLanguage"] == "Python"
    with pytest.raises(InputError, match="holds no finished run"):
        metrics(str(tmp_path / "run=1"), format="prometheus")


def test_the_textfile_is_written_whole_for_everybody_to_read(runs, tmp_path):
    target = tmp_path / "iadsr.prom"
    told = metrics(str(runs / "run=2026-11-28"), format="prometheus", output=str(target))
    assert str(target) in str(told)
    assert stat.S_IMODE(target.stat().st_mode) & 0o444 == 0o444
    samples = {
        (sample.name, *list(sample.labels.values())[1:]): sample.value
        for family in text_string_to_metric_families(target.read_text())
        for sample in family.samples
    }
    assert samples["iadsr_rows", "dropped"] == 320
    assert samples["iadsr_gate_level", "score_drift", "ok"] == 1
    assert list(tmp_path.iterdir()) == [target]
    assert metrics(str(runs / "run=2026-11-28"), format="prometheus").text == target.read_text()
    with pytest.raises(UsageError, match="cannot be written"):
        metrics(str(runs / "run=2026-11-28"), format="prometheus", output=str(tmp_path / "none" / "x.prom"))


def test_runs_outside_of_a_dataset_directory_are_named_by_their_own(runs, tmp_path):
    shutil.copytree(runs / "run=2026-11-28", tmp_path / "cleaned")
    _, complete = events(metrics(str(tmp_path / "cleaned"), format="openlineage").text)
    assert complete["job"]["name"] == "clean.cleaned"
    assert complete["outputs"][0]["name"] == f"{tmp_path}/cleaned/interactions"
    text = metrics(str(tmp_path / "cleaned"), format="prometheus", name="other").text
    assert 'iadsr_input_rows{dataset="other"} 3200' in text
