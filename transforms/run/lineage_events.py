"""A run as events of OpenLineage: that it started, and that it has completed or failed.

The events name what was read and written, with schemas, counts of rows, and what the gates say as assertions. The
format is that of OpenLineage 2-0-2, https://openlineage.io/spec/2-0-2/OpenLineage.json.
"""

import json
import os
import posixpath
import uuid
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from ..contract.output_layout import INTERACTIONS, REJECTED, SEQUENCES, USERS
from ..files.storage import is_local, join
from ..files.tables import open_parquet
from .gates import Checked, GateResult
from .manifest import Manifest
from .published_runs import RUN_PREFIX

SPEC = "https://openlineage.io/spec"

NAMESPACE = "iadsr"
"""Namespace of the job."""

Event = dict[str, Any]


def lineage_events(path: str, run: Manifest, checked: Checked, name: str) -> list[Event]:
    """Returns the events of a finished run: START and COMPLETE.

    Args:
        path: Directory of the run.
        run: Its manifest.
        checked: What its gates say.
        name: What is cleaned, for the name of the job.

    Raises:
        IadsrError: The schema of a written file cannot be read.
    """
    schemas = {table: _schema(path, run, table) for table in (INTERACTIONS, SEQUENCES, USERS, REJECTED)}
    inputs = list(_inputs(run, checked, schemas[INTERACTIONS]))
    outputs = [_output(path, run, table, schema) for table, schema in schemas.items() if schema is not None]
    job = _job(name)
    start, end = ({"runId": _run_id(run.run), "facets": _run_facets(run)} for _ in range(2))
    bare = [{key: each[key] for key in ("namespace", "name")} for each in (*inputs, *outputs)]
    return [
        _event("START", run.started_at, start, job, bare[: len(inputs)], bare[len(inputs) :]),
        _event("COMPLETE", run.finished_at, end, job, inputs, outputs),
    ]


def failed_event(token: str, name: str, now: datetime) -> Event:
    """Returns the event of a run that has begun and is not finished: FAIL.

    Args:
        token: The token of the run.
        name: What is cleaned, for the name of the job.
        now: The time.
    """
    message = {"message": "The run has stopped before its end.", "programmingLanguage": "Python"}
    facets = {"errorMessage": _facet("1-0-1", "ErrorMessageRunFacet", **message)}
    run = {"runId": _run_id(token), "facets": facets}
    return _event("FAIL", now.isoformat(timespec="milliseconds"), run, _job(name), [], [])


def as_lines(events: list[Event]) -> str:
    """Returns events as lines of JSON, as OpenLineage's file transport writes them."""
    return "".join(json.dumps(event) + "\n" for event in events)


def _event(kind: str, time: str, run: Event, job: Event, inputs: list[Event], outputs: list[Event]) -> Event:
    return {
        "eventType": kind,
        "eventTime": time,
        "producer": _producer(),
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": run,
        "job": job,
        "inputs": inputs,
        "outputs": outputs,
    }


def _producer() -> str:
    return f"https://pypi.org/project/iadsr/{metadata.version('iadsr')}"


def _facet(version: str, facet: str, /, **values: Any) -> Event:
    return {"_producer": _producer(), "_schemaURL": f"{SPEC}/facets/{version}/{facet}.json#/$defs/{facet}", **values}


def _run_id(token: str) -> str:
    """Returns the token of a run as the UUID that OpenLineage asks for."""
    try:
        return str(uuid.UUID(token))
    except ValueError:  # not a token of ours
        return str(uuid.uuid5(uuid.NAMESPACE_OID, token))


def _job(name: str) -> Event:
    facets = {"jobType": _facet("2-0-4", "JobTypeJobFacet", processingType="BATCH", integration="IADSR", jobType="JOB")}
    return {"namespace": NAMESPACE, "name": f"clean.{name}", "facets": facets}


def _run_facets(run: Manifest) -> Event:
    engine = {"name": "Apache Beam", "version": run.versions.get("apache-beam", "unknown")}
    engine["openlineageAdapterVersion"] = run.iadsr_version
    return {"processing_engine": _facet("1-1-1", "ProcessingEngineRunFacet", **engine)}


def _inputs(run: Manifest, checked: Checked, written: pa.Schema | None) -> Iterator[Event]:
    log = _dataset(str(run.options.get("interactions", "")), run.directory)
    added = set(dict(run.options.get("added_columns") or {}).values())
    if written is not None:
        log["facets"] = {"schema": _schema_facet(field for field in written if field.name not in added)}
    columns = dict(run.options.get("columns") or {})
    distinct = {columns.get("user"): run.users.total, columns.get("item"): run.items.total}
    size, files = sum(file.bytes for file in run.files), len(run.files)
    log["inputFacets"] = {
        "inputStatistics": _facet(
            "1-0-0", "InputStatisticsInputDatasetFacet", rowCount=run.rows.read, size=size, fileCount=files
        ),
        "dataQualityMetrics": _facet(
            "1-0-3",
            "DataQualityMetricsInputDatasetFacet",
            rowCount=run.rows.read,
            bytes=size,
            fileCount=files,
            columnMetrics={str(name): {"distinctCount": count} for name, count in distinct.items() if name},
        ),
        "dataQualityAssertions": _facet("1-1-0", "DataQualityAssertionsDatasetFacet", assertions=_assertions(checked)),
    }
    yield log
    for origin in (run.embeddings, run.model):
        if origin is not None:
            version = _facet("1-0-1", "DatasetVersionDatasetFacet", datasetVersion=origin.fingerprint)
            yield {**_dataset(origin.path, run.directory), "facets": {"version": version}}


def _assertions(checked: Checked) -> list[Event]:
    return [
        {
            "assertion": gate.name,
            "success": gate.level == "ok",
            "severity": "warn" if gate.level == "warn" else "error",
            "description": gate.meaning,
            "actual": gate.shown,
            **({} if (bound := _bound(gate)) is None else {"expected": f"{bound:g}"}),
        }
        for gate in checked.gates
        if gate.level != "unknown"
    ]


def _bound(gate: GateResult) -> float | None:
    return gate.fail if gate.level == "fail" else gate.warn


def _output(path: str, run: Manifest, table: str, schema: pa.Schema) -> Event:
    files = [file for file in run.outputs if file.path.split("/")[0] == table]
    # All runs of a dataset directory are versions of the same tables.
    whole, version = posixpath.split(path.rstrip("/"))
    if not version.startswith(RUN_PREFIX):
        whole, version = path, run.run
    return {
        **_dataset(posixpath.join(whole, table), os.getcwd()),
        "facets": {
            "schema": _schema_facet(schema),
            "version": _facet("1-0-1", "DatasetVersionDatasetFacet", datasetVersion=version),
        },
        "outputFacets": {
            "outputStatistics": _facet(
                "1-0-2",
                "OutputStatisticsOutputDatasetFacet",
                rowCount=sum(file.rows for file in files),
                size=sum(file.size for file in files),
                fileCount=len(files),
            )
        },
    }


def _dataset(path: str, directory: str | None) -> Event:
    """Names a dataset as OpenLineage does: by its file system or bucket, and the path there."""
    if is_local(path):
        return {"namespace": "file", "name": os.path.normpath(os.path.join(directory or os.getcwd(), path))}
    parts = urlsplit(path)
    return {"namespace": f"{parts.scheme}://{parts.netloc}", "name": parts.path.strip("/") or "/"}


def _schema(path: str, run: Manifest, table: str) -> pa.Schema | None:
    """Returns the schema of a table of the result; None if it has no file."""
    first = next((file.path for file in run.outputs if file.path.split("/")[0] == table), None)
    if first is None:
        return None
    with open_parquet(join(path, *first.split("/"))) as parquet:
        return parquet.schema_arrow


def _schema_facet(fields: Any) -> Event:
    return _facet("1-2-0", "SchemaDatasetFacet", fields=[{"name": f.name, "type": str(f.type)} for f in fields])
