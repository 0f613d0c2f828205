"""The format of `manifest.json`: what is written can be read, and what is no manifest is refused."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from iadsr.models.core.errors import ArtifactError, InputError
from iadsr.transforms.run.manifest import Manifest, manifest_schema, read_manifest

ROOT = Path(__file__).parents[3]

# As a run writes it.
TEXT = """\
{
  "format_version": 1,
  "run": "7fcc",
  "iadsr_version": "0.1.0",
  "started_at": "2026-11-28T01:14:29+00:00",
  "model": {
    "path": "model",
    "fingerprint": "33",
    "backbone": "gru4rec",
    "metrics": {
      "users": 943,
      "held_out_auroc": 0.92
    },
    "changed_at": 1732700000.5
  },
  "embeddings": {
    "path": "embeddings",
    "kind": "semantic",
    "encoder": "minilm",
    "revision": "0.1.0",
    "pooling": "mean",
    "dimension": 384,
    "text_columns": [
      "title"
    ],
    "fingerprint": "e5",
    "changed_at": 0.0
  },
  "options": {
    "output": "caf\u00e9",
    "columns": {
      "user": "user_id",
      "position": null
    },
    "report_users": "hashed",
    "beam": {}
  },
  "versions": {
    "python": "3.11.7"
  },
  "finished_at": "2026-11-28T01:14:40+00:00",
  "durations_seconds": {
    "total": 11.379,
    "decide and write": 0.157
  },
  "rows": {
    "read": 10,
    "kept": 7,
    "dropped": 2,
    "rejected": 1
  },
  "files": [
    {
      "path": "log.parquet",
      "read": 10,
      "kept": 7,
      "dropped": 2,
      "rejected": 1,
      "unreadable": 0,
      "bytes": 4573,
      "changed_at": 1795827751.1076186,
      "partitions": {
        "day": "2026-11-23",
        "hour": null
      }
    }
  ],
  "skipped_files": [
    {
      "path": "bad.parquet",
      "size": 4,
      "rows": null,
      "code": "FILE-READ",
      "reason": "Cannot read bad.parquet"
    }
  ],
  "tables": [
    {
      "path": "log",
      "format": "Delta Lake",
      "version": "7"
    }
  ],
  "notes": [
    "log is a table of Delta Lake."
  ],
  "directory": "/home/me",
  "outputs": [
    {
      "path": "interactions/part-00000-of-00001.parquet",
      "rows": 9,
      "size": 457,
      "sha256": "4e"
    }
  ],
  "users": {
    "total": 3,
    "shortened": 1,
    "emptied": 0,
    "lookalikes": 0,
    "shared_accounts": 1
  },
  "items": {
    "total": 6,
    "without_text": 1,
    "unknown": 0,
    "borrowed": 0
  },
  "reasons": {
    "dropped": {
      "noise:short_term": 2
    },
    "kept": {
      "min_length": 0
    },
    "rejected": {
      "null user_id": 1
    }
  },
  "times": {
    "unit": "s",
    "resolution_seconds": 0.001,
    "first": "2026-01-01T00:00:00Z",
    "last": "2026-02-01T00:00:00Z",
    "notes": []
  },
  "rules": [
    {
      "rule": "duplicate",
      "parameters": {
        "mode": "auto",
        "event_column": null
      },
      "drops": true,
      "interactions": 1,
      "users": 1
    }
  ],
  "policy": {
    "rule": "auto",
    "drop_rate": 0.0,
    "threshold": null,
    "weight_strength": 4.0,
    "min_weight": 0.0,
    "min_length": 1,
    "keep_last": 0
  },
  "noise_share": {
    "estimate": 0.1,
    "lower": 0.05,
    "upper": 0.15,
    "unknown_because": null,
    "among_dropped": null
  },
  "noise_probability_histogram": {
    "edges": [
      0.0,
      1.0
    ],
    "kept": [
      7
    ],
    "dropped": [
      2
    ]
  },
  "popularity_buckets": [
    {
      "label": "1-50",
      "min_count": 1,
      "max_count": 50,
      "items": 6,
      "interactions": 9,
      "dropped": 2,
      "drop_rate": 0.222222,
      "expected_genuine_drop_rate": null
    }
  ],
  "sequence_lengths": {
    "labels": [
      "0",
      "1"
    ],
    "before": [
      0,
      3
    ],
    "after": [
      0,
      3
    ]
  },
  "identity": {
    "input": "5f16"
  },
  "behaviours": [
    {
      "behaviour": "view",
      "interactions": 7,
      "dropped": 2,
      "journeys": 5,
      "noise_share": 0.25
    }
  ],
  "taken_over": {
    "run": "run=2026-11-27",
    "scored_users": 2
  },
  "weightless": 3,
  "model_probabilities": [
    4,
    2
  ]
}"""


def test_a_manifest_is_written_as_it_was_read():
    assert Manifest.from_json(TEXT).to_json() == TEXT


def test_entries_are_fields():
    manifest = Manifest.from_json(TEXT)
    assert (manifest.rows.read, manifest.rows.rejected, manifest.total_seconds) == (10, 1, 11.379)
    assert manifest.files[0].changed_at == 1795827751.1076186
    assert manifest.skipped_files[0].rows is None
    assert manifest.reasons.rejected == {"null user_id": 1}
    assert manifest.popularity_buckets[0].items == 6
    assert manifest.embeddings.text_columns == ("title",)
    assert manifest.report_users == "hashed"
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest.run = "other"


def test_keys_that_a_later_version_adds_are_ignored():
    values = json.loads(TEXT)
    values["later"] = values["rows"]["later"] = 1
    assert Manifest.from_json(json.dumps(values)) == Manifest.from_json(TEXT)


def changed(place: tuple, value) -> str:
    values = content = json.loads(TEXT)
    *way, last = place
    for step in way:
        content = content[step]
    content[last] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format_version",), 2),
        (("run",), None),
        (("rows", "read"), "10"),
        (("rows", "read"), 10.5),
        (("rows", "read"), True),
        (("rows", "kept"), -1),
        (("files", 0, "rejected"), -1),
        (("files", 0, "bytes"), -1),
        (("files", 0, "changed_at"), -1.0),
        (("files", 0, "changed_at"), float("nan")),
        (("files", 0, "path"), 7),
        (("files", 0, "path"), "\ud800"),
        (("files",), {}),
        (("outputs", 0, "rows"), -1),
        (("outputs", 0, "size"), -1),
        (("outputs", 0, "path"), "interactions/../../part.parquet"),
        (("skipped_files", 0, "rows"), "many"),
        (("reasons", "rejected", "null user_id"), -1),
        (("reasons", "kept"), [1]),
        (("policy", "rule"), "whim"),
        (("policy", "threshold"), "0.5"),
        (("noise_share", "lower"), False),
        (("popularity_buckets", 0, "label"), None),
        (("versions", "python"), 3),
        (("durations_seconds",), {}),
        (("options",), []),
    ],
)
def test_an_entry_of_another_type_or_out_of_range_is_refused_by_name(place, value):
    # JSON has no lone surrogates, so a text that holds one is refused as a whole.
    with pytest.raises(ValueError, match="Invalid JSON" if value == "\ud800" else f"^{place[0]}") as error:
        Manifest.from_json(changed(place, value))
    assert len(str(error.value)) < 200


OF_OLDER_RUNS = ("identity", "behaviours", "taken_over", "weightless", "model_probabilities")


def test_a_manifest_of_a_run_that_did_not_know_some_entries_is_read():
    values = json.loads(TEXT)
    for name in OF_OLDER_RUNS:
        del values[name]
    del values["users"]["shared_accounts"]
    found = Manifest.from_json(json.dumps(values))
    assert (found.identity, found.behaviours, found.taken_over, found.weightless) == ({}, (), None, None)
    assert found.model_probabilities is None
    assert found.users.shared_accounts is None


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Manifest) if f.name not in OF_OLDER_RUNS])
def test_a_manifest_that_lacks_an_entry_is_refused_by_name(name):
    values = json.loads(TEXT)
    del values[name]
    with pytest.raises(ValueError, match=name):
        Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 100_000, '{"a":' * 5000, "\ud800"])
def test_what_is_no_manifest_at_all_is_refused(text):
    with pytest.raises(ValueError, match=r"Invalid JSON|should be an object"):
        Manifest.from_json(text.encode(errors="surrogatepass"))


def test_bytes_of_a_file_name_that_are_no_utf8_are_spelled_out():
    manifest = Manifest.from_json(TEXT)
    skipped = dataclasses.replace(manifest.skipped_files[0], path="bad\udcff.parquet")
    manifest = dataclasses.replace(manifest, skipped_files=(skipped,))
    manifest.to_json().encode("utf-8")
    assert Manifest.from_json(manifest.to_json()).skipped_files[0].path == "bad\\udcff.parquet"


def test_a_directory_without_a_manifest_of_this_format_holds_no_finished_run(tmp_path):
    with pytest.raises(InputError) as error:
        read_manifest(str(tmp_path))
    assert (error.value.code, error.value.found) == ("OUTPUT-UNFINISHED", "manifest.json: there is none")
    assert "dataset/run=" in error.value.fix  # as for the directory that holds the runs
    for text in ("", "{", "[]", '{"format_version": 2}', "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(InputError) as error:
            read_manifest(str(tmp_path))
        assert error.value.code == "OUTPUT-UNFINISHED"


def test_a_manifest_that_lacks_something_is_not_taken_for_an_unfinished_run(tmp_path):
    (tmp_path / "manifest.json").write_text(changed(("rows", "kept"), "seven"))
    with pytest.raises(ArtifactError, match="is not complete") as error:
        read_manifest(str(tmp_path))
    assert error.value.code == "VERIFY-MANIFEST"
    assert error.value.found == "rows.kept: Input should be a valid integer"
    (tmp_path / "manifest.json").write_text(TEXT, encoding="utf-8")
    assert read_manifest(str(tmp_path)) == Manifest.from_json(TEXT)


def test_the_documented_schema_is_that_of_the_dataclass():
    documented = json.loads((ROOT / "docs" / "manifest.schema.json").read_text(encoding="utf-8"))
    assert documented == manifest_schema(), (
        "write docs/manifest.schema.json anew: python -c 'import json; "
        "from iadsr.transforms.run.manifest import manifest_schema; print(json.dumps(manifest_schema(), indent=2))'"
    )


def test_every_entry_of_the_schema_is_documented():
    schema = manifest_schema()
    for name, section in [("Manifest", schema), *schema["$defs"].items()]:
        assert section["description"], name
        for key, entry in section["properties"].items():
            assert entry.get("description") or "$ref" in entry, f"{name}.{key}"


def test_building_and_writing_a_manifest_does_without_pydantic():
    program = "import sys, iadsr.transforms.run.finish_run; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
