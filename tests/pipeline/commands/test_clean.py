import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from iadsr.models.core.errors import ArtifactError, ConservationError, InputError
from iadsr.models.detector.iadsr import IADSR
from iadsr.pipeline import clean
from iadsr.pipeline.commands import clean_graph
from iadsr.pipeline.commands.clean import _trained_otherwise
from iadsr.pipeline.commands.command_options import CleanOptions
from iadsr.pipeline.engines import engine as engine_module
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items import joined_items
from iadsr.transforms.items.embedding_files import read_embeddings, write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingTable
from iadsr.transforms.judge import score_shards as scoring
from iadsr.transforms.judge.artifacts import read_model_facts
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.run import finish_run
from iadsr.transforms.run.manifest import ItemTotals
from iadsr.transforms.run.run_store import RunMarker, write_marker
from iadsr.transforms.run.verification import verify_output

USERS, LENGTH = 400, 8
"""Of the tiny world: users, and interactions of each."""

KEY = [(name, "ascending") for name in ("user_id", "timestamp", "item_id")]

ADDED = [
    "noise_probability",
    "keep",
    "reason",
    "weight",
    "long_term_semantic_similarity",
    "long_term_collaborative_similarity",
    "short_term_similarity",
]


def run(world, output, flags=(), **options):
    settings = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model, **options}
    return clean(output=output, beam=flags, **settings).manifest


def read(output: Path, what: str) -> pa.Table:
    return pq.read_table(output / what)


def contents(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for folder in ("interactions", "sequences", "rejected")
        for path in sorted((output / folder).glob("*"))
    }


@pytest.fixture(scope="module")
def cleaned(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("cleaned") / "out"
    manifest = run(world, output, threshold=0.4)
    return output, manifest


def test_every_row_comes_out_once_with_its_columns_untouched(world, cleaned):
    output, _ = cleaned
    interactions = read(output, "interactions")
    log = world.log()
    assert interactions.column_names == log.column_names + ADDED
    assert interactions.schema.field("rating").type == pa.int8()
    key = [(name, "ascending") for name in log.column_names]
    assert interactions.select(log.column_names).sort_by(key).equals(log.sort_by(key))


def test_nothing_is_decided_by_what_is_held_out(world, tmp_path):
    log = world.log().sort_by([("user_id", "ascending"), ("timestamp", "ascending")])
    from_end = LENGTH - np.arange(len(log)) % LENGTH
    exchanged = pc.if_else(from_end <= 2, "item-00", log["item_id"])
    pq.write_table(log.filter(from_end > 2), tmp_path / "earlier.parquet")
    pq.write_table(log.set_column(1, "item_id", exchanged), tmp_path / "exchanged.parquet")
    tables = {}
    for name, options in {
        "whole": {"hold_out": 2},
        "exchanged": {"interactions": tmp_path / "exchanged.parquet", "hold_out": 2},
        "earlier": {"interactions": tmp_path / "earlier.parquet"},
    }.items():
        manifest = run(world, tmp_path / name, drop_rate=0.1, **options)
        tables[name] = read(tmp_path / name, "interactions").sort_by(KEY)
        verify_output(str(tmp_path / name))
    whole = tables["whole"]
    held_out = whole.filter(pc.not_equal(whole["split"], "train"))
    assert held_out["split"].to_pylist() == ["validation", "test"] * USERS
    assert pc.all(held_out["keep"]).as_py()
    assert set(held_out["reason"].to_pylist()) == {"held_out"}
    assert set(held_out["weight"].to_pylist()) == {1.0}
    earlier = tables["earlier"]
    assert whole.filter(pc.equal(whole["split"], "train")).select(earlier.column_names).equals(earlier)
    judged = ["user_id", "timestamp", *ADDED]
    assert tables["exchanged"].select(judged).equals(whole.select(judged))
    # Who splits the sequences leave-one-out, tests on the items of the raw log.
    sequences = read(tmp_path / "whole", "sequences").sort_by("user_id")
    assert [items[-2:] for items in sequences["item_ids"].to_pylist()] == [
        log["item_id"].to_pylist()[end - 2 : end] for end in range(LENGTH, len(log) + 1, LENGTH)
    ]
    assert {tuple(splits[-2:]) for splits in sequences["splits"].to_pylist()} == {("validation", "test")}
    assert manifest.rows.read == len(log) * (LENGTH - 2) / LENGTH


def test_a_model_that_may_have_seen_what_is_held_out_is_told(world, tmp_path):
    assert "trained with --hold-out 0" in run(world, tmp_path / "model", hold_out=2).notes[-1]
    manifest = run(world, tmp_path / "rules", hold_out=2, model=None, embeddings=None, rules_only=True)
    assert not manifest.notes
    assert manifest.reasons.kept["held_out"] == 2 * USERS


@pytest.mark.parametrize(
    ("trained", "given", "said"),
    [
        (None, None, ""),
        ((), (), ""),
        (("view", "buy"), ("view", "buy"), ""),
        (None, ("view", "buy"), "without --behaviour-column, and this run is with --behaviours view,buy"),
        (("view", "buy"), None, "with --behaviours view,buy, and this run is without --behaviour-column"),
        (("view", "buy"), (), "view,buy, and this run is with --behaviour-column, without --behaviours"),
    ],
)
def test_a_model_that_was_trained_with_other_behaviours_is_told(world, trained, given, said):
    model = dataclasses.replace(read_model_facts(world.model), behaviours=trained)
    columns = InteractionColumns() if given is None else InteractionColumns(behaviour="event", behaviours=given or None)
    log = LogSource(world.interactions, columns)
    notes = _trained_otherwise(CleanOptions(log, "out", embeddings=world.embeddings, model=world.model), model)
    assert len(notes) == bool(said)
    assert said in "".join(notes)


def test_scores_and_reasons_agree_with_the_decision(cleaned):
    output, manifest = cleaned
    rows = read(output, "interactions").to_pylist()
    assert manifest.rows.dropped > 0
    for row in rows:
        assert 0 <= row["noise_probability"] <= 1
        if row["keep"]:
            assert row["noise_probability"] < 0.4 or row["reason"] == "min_length"
        else:
            assert row["noise_probability"] >= np.float32(0.4)
            assert row["reason"].startswith("noise:")
            assert row["weight"] == 0
        assert all(-1.0001 <= row[name] <= 1.0001 for name in ADDED[4:])
    assert len({row["weight"] for row in rows}) > 100
    # The weight follows the probability of a stray, which mostly rises with that of noise of any kind.
    judged = np.array([(row["noise_probability"], row["weight"]) for row in rows if row["keep"] and not row["reason"]])
    assert np.corrcoef(judged.T)[0, 1] < -0.5


def test_sequences_are_the_kept_interactions_in_time_order(cleaned):
    output, _ = cleaned
    expected: dict[str, list] = {}
    for row in sorted(read(output, "interactions").to_pylist(), key=lambda r: (r["user_id"], r["timestamp"])):
        if row["keep"]:
            expected.setdefault(row["user_id"], []).append((row["timestamp"], row["item_id"], row["weight"]))
    sequences = read(output, "sequences").to_pylist()
    assert len(sequences) == len(expected)
    for sequence in sequences:
        found = list(zip(sequence["timestamps"], sequence["item_ids"], sequence["weights"], strict=True))
        assert found == expected[sequence["user_id"]]


def test_the_manifest_adds_up_and_tells_where_everything_came_from(world, cleaned):
    output, manifest = cleaned
    assert (output / "manifest.json").read_text() == manifest.to_json() + "\n"
    interactions = read(output, "interactions")
    rows = manifest.rows
    assert rows.read == len(interactions) == rows.kept + rows.dropped + rows.rejected
    assert rows.kept == sum(interactions["keep"].to_pylist())
    assert sum(manifest.reasons.dropped.values()) == rows.dropped
    assert [file.read for file in manifest.files] == [500, 2700]
    assert sum(bucket.dropped for bucket in manifest.popularity_buckets) == rows.dropped
    assert sum(bucket.interactions for bucket in manifest.popularity_buckets) == rows.read
    histogram = manifest.noise_probability_histogram
    assert sum(histogram.dropped) == rows.dropped
    assert sum(histogram.kept) + sum(histogram.dropped) == rows.read
    assert sum(manifest.sequence_lengths.before) == manifest.users.total == 400
    assert manifest.options["policy"]["threshold"] == 0.4
    assert manifest.model.backbone == "gru4rec"
    assert len(manifest.model.fingerprint) == 64
    assert manifest.embeddings.encoder == "test-encoder"
    assert len(manifest.embeddings.fingerprint) == 64
    assert manifest.items == ItemTotals(total=40, without_text=0, unknown=0, borrowed=0)
    assert not (output / ".staging").exists()


def test_the_report_shows_item_texts_and_the_counts(cleaned):
    output, manifest = cleaned
    report = (output / "report.html").read_text()
    assert "Thing item-" in report
    assert f"{manifest.rows.dropped:,}" in report


@pytest.mark.parametrize("options", [{}, {"shuffle": "bytes"}, {"flags": ["--direct_num_workers=2"]}])
def test_bytes_do_not_depend_on_shuffle_or_workers(world, cleaned, tmp_path, options):
    output, _ = cleaned
    run(world, tmp_path / "again", threshold=0.4, **options)
    assert contents(tmp_path / "again") == contents(output)


@pytest.mark.parametrize("settings", [{}, {"shuffle": "bytes"}, {"flags": ["--direct_num_workers=2"]}])
def test_both_joins_agree_to_the_bit(world, cleaned, tmp_path, monkeypatch, settings):
    output, manifest = cleaned
    monkeypatch.setattr(joined_items, "ITEM_SHARD_BYTES", 500)  # more parts than one, of this tiny catalogue
    again = run(world, tmp_path / "again", threshold=0.4, join="shuffle", **settings)
    assert contents(tmp_path / "again") == contents(output)
    assert again.items == manifest.items
    assert "Thing item-" in (tmp_path / "again" / "report.html").read_text()


def test_joins_agree_where_the_catalogue_knows_no_item_of_a_shard_or_only_new_ones(world, tmp_path, monkeypatch):
    monkeypatch.setattr(joined_items, "ITEM_SHARD_BYTES", 500)
    semantic = read_embeddings(world.embeddings)
    ids = pa.array([*semantic.item_ids.to_pylist(), "brand-new"])
    vectors = np.concatenate([semantic.vectors, semantic.vectors[:1]])
    texts = pa.array([*(semantic.texts or []), "New"], pa.large_string())
    wider = EmbeddingTable(ids, vectors, np.ones(len(ids), bool), texts, semantic.metadata)
    write_embeddings(wider, str(tmp_path / "embeddings"))
    users = {"a": ["nobody-knows"], "b": ["brand-new", "item-01"], "c": ["item-02", "nobody-knows", "item-03"]}
    rows = [(user, item, time) for user, items in users.items() for time, item in enumerate(items)]
    log = pa.table(dict(zip(("user_id", "item_id", "timestamp"), map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(log, tmp_path / "log.parquet")
    settings = {"interactions": str(tmp_path / "log.parquet"), "embeddings": str(tmp_path / "embeddings"), "shards": 4}
    manifests = {join: run(world, tmp_path / join, join=join, **settings) for join in ("broadcast", "shuffle")}
    assert contents(tmp_path / "broadcast") == contents(tmp_path / "shuffle")
    assert manifests["shuffle"].items == manifests["broadcast"].items
    assert manifests["shuffle"].items.borrowed == 1
    assert manifests["shuffle"].items.unknown == 1


def test_no_bit_depends_on_the_number_of_shards(world, tmp_path):
    key = [("user_id", "ascending"), ("timestamp", "ascending"), ("item_id", "ascending")]
    tables = []
    for shards in (1, 3, 8):
        run(world, tmp_path / str(shards), shards=shards)
        tables.append(read(tmp_path / str(shards), "interactions").sort_by(key))
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_a_user_of_thousands_and_an_item_in_half_of_all_rows_lose_nothing(world, tmp_path):
    log = world.log()
    users, items = log["user_id"].to_pylist(), log["item_id"].to_pylist()
    users[::2] = ["user-007"] * len(users[::2])
    items[::4] = items[1::4] = ["item-03"] * len(items[::4])
    log = log.set_column(0, "user_id", pa.array(users)).set_column(1, "item_id", pa.array(items))
    pq.write_table(log, tmp_path / "log.parquet", row_group_size=300)
    found = []
    for shards in (1, 8):
        manifest = run(world, tmp_path / str(shards), interactions=str(tmp_path / "log.parquet"), shards=shards)
        assert manifest.rows.read == len(log) == manifest.rows.kept + manifest.rows.dropped
        found.append(read(tmp_path / str(shards), "interactions"))
        assert pc.sum(pc.equal(found[-1]["user_id"], "user-007")).as_py() >= 1600
        key = [(name, "ascending") for name in log.column_names]
        assert found[-1].select(log.column_names).sort_by(key).equals(log.sort_by(key))
    one, eight = (table.sort_by([(name, "ascending") for name in log.column_names]) for table in found)
    assert one.equals(eight)


def test_a_drop_rate_drops_the_worst_of_all_shards_together(world, tmp_path):
    manifest = run(world, tmp_path / "out", drop_rate=0.1, shards=5)
    rows = read(tmp_path / "out", "interactions").to_pylist()
    threshold = manifest.policy.threshold
    assert manifest.policy.rule == "drop_rate"
    assert 300 <= manifest.rows.dropped <= 320
    for row in rows:
        if row["reason"] != "min_length" and row["noise_probability"] != pytest.approx(threshold, abs=1e-6):
            assert row["keep"] == (row["noise_probability"] < threshold)
    seen = Counter(row["item_id"] for row in rows)
    for bucket in manifest.popularity_buckets:
        mine = [row for row in rows if bucket.min_count <= seen[row["item_id"]] <= bucket.max_count]
        assert len(mine) == bucket.interactions
        assert sum(not row["keep"] for row in mine) == bucket.dropped
        genuine = sum(1 - row["noise_probability"] for row in mine)
        lost = sum(1 - row["noise_probability"] for row in mine if not row["keep"])
        assert bucket.expected_genuine_drop_rate == pytest.approx(lost / genuine, abs=1e-5)


def test_by_default_the_logs_own_share_of_noise_goes(world, tmp_path):
    manifest = run(world, tmp_path / "out")
    share, rows = manifest.noise_share, manifest.rows
    # The world's strays are 8% of the log, all in the wrong half; what training inserts lies in either half.
    assert 0.01 < share.lower < share.estimate < share.upper < 0.3
    assert 0.04 < share.estimate < 0.2
    assert manifest.policy.rule == "auto"
    assert manifest.policy.drop_rate == pytest.approx(share.lower, rel=0.01)
    assert rows.dropped <= share.lower * rows.read
    assert rows.dropped == pytest.approx(share.lower * rows.read, rel=0.1)
    probability = read(tmp_path / "out", "interactions")["noise_probability"].to_numpy()
    assert probability.mean() == pytest.approx(share.estimate, rel=0.02)


def test_a_log_with_columns_of_added_names_is_cleaned_as_it_is(world, cleaned, tmp_path):
    plain, _ = cleaned
    log = world.log()
    own = {"weight": log["rating"], "keep": log["item_id"], "noise_probability": log["timestamp"]}
    for name, values in own.items():
        log = log.append_column(name, values)
    pq.write_table(log, tmp_path / "log.parquet")
    settings = {"interactions": str(tmp_path / "log.parquet"), "threshold": 0.4}
    with pytest.raises(InputError, match="--added-prefix") as error:
        run(world, tmp_path / "out", **settings)
    assert error.value.code == "LOG-ADDED"
    manifest = run(world, tmp_path / "out", added_prefix="iadsr_", added_names=["keep=kept"], **settings)
    written = {name: f"iadsr_{name}" for name in ADDED} | {"keep": "kept"}
    assert manifest.options["added_columns"] == written
    found, expected = (read(output, "interactions").sort_by(KEY) for output in (tmp_path / "out", plain))
    assert found.column_names == [*log.column_names, *written.values()]
    assert found.select(log.column_names).equals(log.sort_by(KEY))
    assert found.select(list(written.values())).equals(expected.select(ADDED).rename_columns(list(written.values())))
    sequences = [read(output, "sequences").sort_by("user_id") for output in (tmp_path / "out", plain)]
    assert sequences[0].equals(sequences[1])
    assert verify_output(str(tmp_path / "out")).inputs_compared == 1


def test_a_log_too_small_for_its_share_of_noise_keeps_everything_and_says_why(world, tmp_path):
    users = pa.array([f"user-{n:03d}" for n in range(6)])
    log = world.log()
    pq.write_table(log.filter(pc.is_in(log["user_id"], users)), tmp_path / "log.parquet")
    manifest = run(world, tmp_path / "out", interactions=str(tmp_path / "log.parquet"))
    assert manifest.rows.dropped == 0
    assert manifest.noise_share.estimate is None
    assert "too few users" in manifest.noise_share.unknown_because
    assert "too few users" in (tmp_path / "out" / "report.html").read_text()
    by_hand = run(
        world,
        tmp_path / "out",
        interactions=str(tmp_path / "log.parquet"),
        drop_rate=0.2,
        overwrite=True,
    )
    assert 5 <= by_hand.rows.dropped <= 9


def test_unusable_rows_go_to_rejected_and_the_rest_is_cleaned(world, tmp_path):
    log = world.log()
    users = [None, "", *log["user_id"].to_pylist()[2:]]
    pq.write_table(log.set_column(0, "user_id", pa.array(users)), tmp_path / "log.parquet")
    manifest = run(world, tmp_path / "out", interactions=str(tmp_path / "log.parquet"))
    assert manifest.rows.rejected == 2
    assert manifest.reasons.rejected == {"empty user_id": 1, "null user_id": 1}
    rejected = read(tmp_path / "out", "rejected").to_pylist()
    assert [(row["row_number"], row["reason"]) for row in rejected] == [(0, "null user_id"), (1, "empty user_id")]
    assert json.loads(rejected[0]["row"])["item_id"] == log["item_id"][0].as_py()
    assert len(read(tmp_path / "out", "interactions")) == len(log) - 2


def test_when_no_row_can_be_used_the_run_fails_and_says_why(world, tmp_path):
    empty = pa.table({"user_id": ["", ""], "item_id": ["a", "b"], "timestamp": [1, 2]})
    pq.write_table(empty, tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"No row of the input could be used") as error:
        run(world, tmp_path / "out", interactions=str(tmp_path / "log.parquet"))
    assert "empty user_id (2 rows)" in str(error.value)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert len(read(tmp_path / "out", "rejected")) == 2


def test_a_log_of_which_no_item_is_known_is_not_called_cleaned(world, tmp_path):
    log = world.log()
    other = pc.binary_join_element_wise(log["item_id"], "again", "-")
    pq.write_table(log.set_column(1, "item_id", other), tmp_path / "log.parquet")
    with pytest.raises(InputError, match="40 items, all of them unknown"):
        run(world, tmp_path / "out", interactions=str(tmp_path / "log.parquet"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_result_that_something_else_has_changed_is_not_gone_on_with(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(clean_graph, "render_report", _fail)
        with pytest.raises(ValueError, match="no report"):
            run(world, tmp_path / "out")
    part = next((tmp_path / "out" / "interactions").iterdir())
    table = pq.read_table(part)
    pq.write_table(table.slice(1), part)
    with pytest.raises(ConservationError, match="files in interactions/ do not hold the rows") as error:
        run(world, tmp_path / "out")
    assert f"{world.log().num_rows - 1:,} rows in them" in str(error.value)


def _fail(*_):
    raise ValueError("no report")


def test_unknown_items_and_lonely_interactions_are_kept_with_a_reason(world, tmp_path):
    log = pa.table(
        {
            "user_id": ["a", "a", "a", "b"],
            "item_id": ["item-01", "nobody-knows", "item-02", "item-03"],
            "timestamp": [1, 2, 3, 1],
        }
    )
    pq.write_table(log, tmp_path / "log.parquet")
    manifest = run(world, tmp_path / "out", interactions=str(tmp_path / "log.parquet"))
    rows = {row["item_id"]: row for row in read(tmp_path / "out", "interactions").to_pylist()}
    assert rows["nobody-knows"]["reason"] == "unknown_item"
    assert rows["nobody-knows"]["keep"]
    assert rows["nobody-knows"]["noise_probability"] == 0
    assert rows["nobody-knows"]["short_term_similarity"] is None
    assert rows["item-03"]["reason"] == "too_short"
    assert manifest.items.unknown == 1
    assert manifest.items.without_text == 0  # judged without text: an unknown item is not judged


def test_integer_ids_and_arrow_timestamps_and_other_names_are_carried_as_they_are(world, tmp_path):
    # The ids are strings in this world, so integers must be refused with both types named.
    log = pa.table({"buyer": [1, 1, 2], "sku": [1, 2, 3], "at": pa.array([1, 2, 3], pa.timestamp("us", "UTC"))})
    pq.write_table(log, tmp_path / "log.parquet")
    columns = {"user_column": "buyer", "item_column": "sku", "timestamp_column": "at"}
    with pytest.raises(ArtifactError, match="different types") as error:
        run(world, tmp_path / "out", interactions=str(tmp_path / "log.parquet"), **columns)
    assert "int64" in str(error.value)
    assert "string" in str(error.value)

    log = log.set_column(1, "sku", pa.array(["item-01", "item-02", "item-03"]))
    pq.write_table(log, tmp_path / "log.parquet")
    run(world, tmp_path / "out", interactions=str(tmp_path / "log.parquet"), **columns)
    sequences = read(tmp_path / "out", "sequences")
    assert sequences.schema.field("user_id").type == pa.int64()
    assert sequences.schema.field("timestamps").type.value_type == pa.timestamp("us", "UTC")
    assert sequences["user_id"].to_pylist() == [1, 2]


def test_a_finished_run_is_not_overwritten_unless_asked(world, cleaned, tmp_path):
    output, _ = cleaned
    before = contents(output)
    with pytest.raises(InputError, match="already holds a finished run"):
        run(world, output)
    assert contents(output) == before
    run(world, tmp_path / "out")
    assert run(world, tmp_path / "out", threshold=0.9, overwrite=True).policy.threshold == 0.9


def test_an_unfinished_run_is_replaced_and_foreign_files_are_left_alone(world, tmp_path):
    stale = tmp_path / "out" / "interactions" / "part-00099-of-00100.parquet"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"left behind")
    write_marker(str(tmp_path / "out"), RunMarker({"input": "another"}, "token", ready=True))
    run(world, tmp_path / "out")
    assert not stale.exists()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.doc").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"thesis\.doc"):
        run(world, tmp_path / "foreign")


def test_a_file_that_breaks_under_the_run_is_named_without_a_stack_trace(world, tmp_path, monkeypatch):
    log = tmp_path / "log.parquet"
    pq.write_table(world.log(), log, compression="none", use_dictionary=False)
    data = bytearray(log.read_bytes())
    data[4:200] = b"\xff" * 196  # the first data page; the footer stays whole
    log.write_bytes(data)
    with pytest.raises(InputError, match=r"Cannot read row groups 0 to 0 of .*log\.parquet"):
        run(world, tmp_path / "out", interactions=str(log))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_model_and_embeddings_must_belong_together(world, tmp_path):
    with pytest.raises(ArtifactError, match="not a model directory"):
        run(world, tmp_path / "out", model=str(tmp_path))
    with pytest.raises(InputError, match="No file found"):
        run(world, tmp_path / "out", embeddings=str(tmp_path / "none"))
    table = pq.read_table(world.embeddings)
    other = json.loads(table.schema.metadata[b"iadsr"]) | {"encoder": "another-encoder"}
    other.pop("table")
    (tmp_path / "emb").mkdir()
    pq.write_table(table.replace_schema_metadata({"iadsr": json.dumps(other)}), tmp_path / "emb" / "a.parquet")
    with pytest.raises(ArtifactError) as error:
        run(world, tmp_path / "out", embeddings=str(tmp_path / "emb"))
    assert "another-encoder" in str(error.value)
    assert "test-encoder" in str(error.value)


def test_a_folder_that_is_only_named_like_ours_is_left_alone(world, tmp_path):
    log = tmp_path / "interactions" / "log.parquet"
    log.parent.mkdir()
    pq.write_table(world.log(), log)
    with pytest.raises(InputError, match="not ours"):
        run(world, tmp_path)
    with pytest.raises(InputError, match="lies inside the output directory"):
        run(world, tmp_path, interactions=str(log.parent), overwrite=True)
    assert log.exists()


def test_an_object_store_serves_for_input_model_and_output(world, store):
    for name in ("interactions", "embeddings", "model"):
        root = Path(getattr(world, name))
        for path in root.rglob("*.*"):
            store.files[f"memory://bucket/{name}/{path.relative_to(root)}"] = path.read_bytes()
    settings = {name: f"memory://bucket/{name}" for name in ("interactions", "embeddings", "model")}
    for overwrite in (False, True):
        manifest = run(world, "memory://bucket/out", overwrite=overwrite, drop_rate=0.05, **settings)
        assert manifest is not None
        assert manifest.rows.kept + manifest.rows.dropped == len(world.log())
        written = {path.removeprefix("memory://bucket/out/") for path in store.files if "/out/" in path}
        assert written == {
            "README.md",
            "manifest.json",
            "report.html",
            "interactions/part-00000-of-00001.parquet",
            "sequences/part-00000-of-00001.parquet",
            "users/part-00000-of-00001.parquet",
        }
    with pytest.raises(InputError, match="already holds a finished run"):
        run(world, "memory://bucket/out", **settings)


@pytest.mark.parametrize("rule", [{"min_user_interactions": 1000}, {"before": "1999-01-01"}])
@pytest.mark.parametrize("alone", [{}, {"rules_only": True, "model": None, "embeddings": None}])
def test_a_log_of_which_rules_leave_nothing_is_dropped_as_a_whole(world, tmp_path, rule, alone):
    manifest = run(world, tmp_path / "out", **rule, **alone)
    assert (manifest.rows.kept, manifest.rows.dropped, manifest.users.emptied) == (0, 3200, 400)
    assert +Counter(manifest.reasons.dropped) == {"window" if "before" in rule else "core": 3200}
    assert (manifest.policy is None) if alone else (manifest.policy.drop_rate == 0)
    histogram = manifest.noise_probability_histogram
    assert (histogram is None) if alone else (sum(histogram.kept + histogram.dropped) == 0)
    assert manifest.items.unknown is None if alone else manifest.items.unknown >= 0
    assert all(bucket.drop_rate is None for bucket in manifest.popularity_buckets)
    verify_output(str(tmp_path / "out"))


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_an_output_with_slashes_at_its_end_is_the_same_directory(world, tmp_path, slashes):
    manifest = run(world, f"{tmp_path}/out{slashes}")
    assert [file.path for file in manifest.outputs] == [
        "interactions/part-00000-of-00001.parquet",
        "sequences/part-00000-of-00001.parquet",
        "users/part-00000-of-00001.parquet",
    ]
    verify_output(f"{tmp_path}/out{slashes}")


def test_model_and_vectors_are_loaded_once_and_not_for_every_shard(world, tmp_path, monkeypatch):
    loads = []
    opened = scoring.open_joined_items
    monkeypatch.setattr(scoring, "open_joined_items", lambda path: loads.append(path) or opened(path))
    items = finish_run.open_items
    monkeypatch.setattr(finish_run, "open_items", lambda path: loads.append(path) or items(path))
    monkeypatch.setattr(IADSR, "from_pretrained", _counting(IADSR.from_pretrained, loads))
    run(world, tmp_path / "out", shards=5)
    # The model and the joined items for scoring; the ids and texts for the last step, and not for writing.
    assert len(loads) == 3


def _counting(load, loads):
    def counted(path):
        loads.append(path)
        return load(path)

    return counted


def test_a_bundle_that_is_run_twice_leaves_the_same_result(world, cleaned, tmp_path, monkeypatch):
    output, _ = cleaned
    monkeypatch.setattr(engine_module, "make_runner", lambda options: FnApiRunner(bundle_repeat=1))
    run(world, tmp_path / "again", threshold=0.4)
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "README.md",
        "interactions",
        "manifest.json",
        "report.html",
        "sequences",
        "users",
    ]
    assert contents(tmp_path / "again") == contents(output)


def test_credentials_do_not_reach_manifest_or_report(world, tmp_path):
    run(world, tmp_path / "out", ["--s3_secret_access_key=hunter2", "--s3_region_name=eu"])
    text = (tmp_path / "out" / "manifest.json").read_text()
    assert (
        json.loads(text)["options"]["beam"].items()
        >= {
            "s3_secret_access_key": "(hidden)",
            "s3_region_name": "eu",
        }.items()
    )
    assert "hunter2" not in text
    assert "hunter2" not in (tmp_path / "out" / "report.html").read_text()
