import json

import pytest

from iadsr.pipeline.commands.messages import describe_cleaning, describe_training
from iadsr.pipeline.commands.train import TrainSummary
from iadsr.transforms.read.input_plan import SkippedFile
from iadsr.transforms.run.manifest import Manifest, RuleFindings


def manifest(**changes) -> Manifest:
    kept = {"min_length": 0, "keep_last": 0, "unknown_item": 0, "too_short": 0, "collaborative_only": 0}
    embeddings = {"kind": "semantic", "encoder": "minilm", "revision": "1", "pooling": "mean", "dimension": 384}
    values = {
        "format_version": 1,
        "run": "0123",
        "iadsr_version": "0.1.0",
        "started_at": "2026-11-23T14:10:00+00:00",
        "model": {"path": "model", "fingerprint": "ab", "backbone": "sasrec", "metrics": {}},
        "embeddings": {"path": "vectors", **embeddings, "text_columns": ["title"], "fingerprint": "cd"},
        "options": {},
        "versions": {},
        "finished_at": "2026-11-23T14:12:05+00:00",
        "durations_seconds": {"total": 125.25},
        "rows": {"read": 1003, "kept": 900, "dropped": 100, "rejected": 3},
        "files": [],
        "skipped_files": [],
        "tables": [],
        "notes": [],
        "directory": None,
        "outputs": [],
        "users": {"total": 50, "shortened": 20, "emptied": 0, "lookalikes": 0},
        "items": {"total": 30, "without_text": 0, "unknown": 0, "borrowed": 0},
        "reasons": {"dropped": {}, "kept": kept, "rejected": {"null user_id": 3}},
        "policy": {
            "rule": "threshold",
            "drop_rate": None,
            "threshold": 0.5,
            "weight_strength": 1.0,
            "min_weight": 0.0,
            "min_length": 1,
            "keep_last": 0,
        },
        "noise_share": {
            "estimate": 0.1234,
            "lower": 0.101,
            "upper": 0.1458,
            "unknown_because": None,
            "among_dropped": None,
        },
        "noise_probability_histogram": {"edges": [0, 1], "kept": [900], "dropped": [100]},
        "popularity_buckets": [],
        "sequence_lengths": {"labels": [], "before": [], "after": []},
        "times": {"first": "1", "last": "9", "unit": None, "resolution_seconds": None, "notes": []},
        "rules": [],
    }
    for key, change in changes.items():
        values[key] = {**values[key], **change} if isinstance(change, dict) else change
    return Manifest.from_json(json.dumps(values))


def test_a_plain_run_says_what_went_and_where_the_rest_lies():
    assert describe_cleaning(manifest(), "out").splitlines() == [
        "Noise in the log: 12.3% of what could be judged (95% interval 10.1% to 14.6%).",
        "Dropped 100 of 1,000 interactions (10.0%): noise probability at or above 0.5.",
        "Shortened 20 of 50 users.",
        "Unusable, see out/rejected: 3 rows (null user_id 3).",
        "  Cleaned sequences  out/sequences",
        "  Every interaction  out/interactions",
        "  Report             out/report.html",
    ]


def test_a_list_of_users_to_forget_that_names_none_of_the_log_is_told():
    warning = "WARNING: the log has no row of the users that --forget lists."
    asked = {"columns": {"forget": "list.txt"}}
    assert warning in describe_cleaning(manifest(options=asked), "out").splitlines()
    done = {"rejected": {"forgotten user_id": 3}}
    assert warning not in describe_cleaning(manifest(options=asked, reasons=done), "out")
    assert warning not in describe_cleaning(manifest(options={"columns": {"forget": None}}), "out")


def found(rule: str, drops: bool, interactions: int, users: int) -> dict:
    return {"rule": rule, "parameters": {"mode": "auto"}, "drops": drops, "interactions": interactions, "users": users}


def test_what_rules_found_comes_first_and_what_they_dropped_is_no_noise():
    rules = [found("nobody", False, 7, 1), found("duplicate", True, 40, 5), found("machine", True, 0, 0)]
    dropped = {"duplicate": 40, "noise:short_term": 60}
    assert describe_cleaning(manifest(rules=rules, reasons={"dropped": dropped}), "out").splitlines()[:5] == [
        "Found, not dropped: interactions of nobody (nobody): 7 by 1 user.",
        "Dropped duplicates (duplicate): 40 by 5 users.",
        "Noise in the log: 12.3% of what could be judged (95% interval 10.1% to 14.6%).",
        "Dropped as noise 60 of 960 interactions (6.2%): noise probability at or above 0.5.",
        "Shortened 20 of 50 users.",
    ]


def test_rules_alone_tell_of_no_noise():
    alone = {"model": None, "embeddings": None, "policy": None, "noise_share": None}
    rules = [found("machine", True, 100, 2)]
    text = describe_cleaning(manifest(rules=rules, reasons={"dropped": {"machine": 100}}, **alone), "out")
    assert text.splitlines()[:3] == [
        "Dropped interactions of machines (machine): 100 by 2 users.",
        "Dropped 100 of 1,000 interactions (10.0%) by rules.",
        "Shortened 20 of 50 users.",
    ]
    assert "oise" not in text


def test_a_rule_that_was_asked_for_and_found_nothing_is_told():
    nothing = [found("duplicate", True, 0, 0), found("repeat", True, 0, 0), found("returned", True, 0, 0)]
    nothing[1]["parameters"], nothing[2]["parameters"] = {"mode": "drop"}, {"column": "event"}
    text = describe_cleaning(manifest(rules=nothing), "out")
    assert text.splitlines()[0] == "Asked for, and nothing found: repeats (repeat), returned interactions (returned)."


def test_an_event_with_its_behaviour_that_was_not_found_is_told_to_need_behaviours():
    nothing = found("returned", True, 0, 0)
    nothing["parameters"] = {"column": "event", "values": ["cancel", "return=purchase"]}
    assert describe_cleaning(manifest(rules=[nothing]), "out").splitlines()[0] == (
        "Asked for, and nothing found: returned interactions (returned). "
        "Without --behaviours, return=purchase is looked for as it stands."
    )
    some = {**nothing, "interactions": 2, "users": 1}
    assert "--behaviours" not in describe_cleaning(manifest(rules=[some]), "out")


def test_rules_that_leave_nothing_to_judge_are_told():
    rows = {"read": 8, "kept": 0, "dropped": 8, "rejected": 0}
    text = describe_cleaning(manifest(rows=rows, reasons={"dropped": {"core": 8}}), "out")
    assert "The rules leave nothing to judge.\n" in text
    assert "oise" not in text


def test_a_log_of_which_nothing_is_left_is_told():
    rows = {"read": 8, "kept": 0, "dropped": 8, "rejected": 0}
    users = {"total": 1, "shortened": 1, "emptied": 1, "lookalikes": 0}
    text = describe_cleaning(manifest(rows=rows, users=users), "out")
    assert "Shortened 1 of 1 user; 1 has nothing left.\nWARNING: no interaction is left" in text
    assert "WARNING" not in describe_cleaning(manifest(), "out")


def test_protection_emptied_users_and_the_rate_are_told():
    kept = {"min_length": 1, "keep_last": 2, "unknown_item": 7}
    text = describe_cleaning(
        manifest(
            users={"total": 50, "shortened": 20, "emptied": 4, "lookalikes": 0},
            items={"without_text": 12},
            policy={"rule": "drop_rate", "drop_rate": 0.1, "threshold": None},
            reasons={"kept": kept, "rejected": {}},
        ),
        "out",
    )
    assert "Dropped 100 of 1,000 interactions (10.0%): --drop-rate 0.1." in text
    assert "Shortened 20 of 50 users; 4 have nothing left." in text
    assert "Without text, judged by behaviour alone: 12 items." in text
    assert "Protected by --min-length: 1 interaction." in text
    assert "Protected by --keep-last: 2 interactions." in text
    assert "unknown to the embeddings and the model: 7 interactions." in text
    assert "Unusable" not in text


def test_all_that_is_kept_and_weighs_nothing_is_told_whatever_its_reason():
    kept = {"min_length": 262, "weightless": 5}
    lines = describe_cleaning(manifest(weightless=267, reasons={"kept": kept}), "out").splitlines()
    assert lines[3:5] == [
        "Protected by --min-length: 262 interactions.",
        "Kept, but better left out of training (weight 0): 267 interactions.",
    ]
    assert "weight 0" not in describe_cleaning(manifest(), "out")


def test_where_the_share_of_noise_is_not_known_it_says_why_and_what_to_do():
    share = {"estimate": None, "lower": None, "upper": None, "unknown_because": "too few users"}
    policy = {"rule": "auto", "drop_rate": 0.0, "threshold": None}
    text = describe_cleaning(manifest(noise_share=share, policy=policy), "out")
    assert text.startswith(
        "The log's share of noise is not known: too few users; nothing is dropped as noise without --drop-rate"
    )
    assert ": none, as the share of noise is not known." in text
    by_hand = describe_cleaning(manifest(noise_share=share), "out")
    assert by_hand.startswith("The log's share of noise is not known: too few users.\n")


def test_a_template_says_that_nothing_has_run():
    assert "template" in describe_cleaning(None, "gs://bucket/out")


@pytest.mark.parametrize(("items", "words"), [(0, ""), (1, "judged by behaviour alone: 1 item."), (2, ": 2 items.")])
def test_training_tells_counts_and_detection(items, words):
    metrics = {"interactions": 1000, "users": 1, "items": 20, "held_out_auroc": 0.87654, "noise_lean": 0.1}
    text = describe_training(TrainSummary("model", metrics, {}, items), "model")
    assert "Trained on 1,000 interactions of 1 user with 20 items." in text
    assert "AUROC 0.877" in text
    assert words in text
    assert ("Without text" in text) == bool(items)
    assert "too little noise" not in text
    assert "too little noise" in describe_training(
        TrainSummary("model", metrics, {}, items, knows_noise=False), "model"
    )
    assert "eft out" not in text
    assert "The log itself shows" not in text
    for lean, words in ((-0.5, "mostly single items"), (0.8, "noise of all kinds")):
        assert words in describe_training(TrainSummary("model", metrics | {"noise_lean": lean}, {}, 0), "model")


def test_training_tells_what_rules_took_from_the_model():
    metrics = {"interactions": 1000, "users": 9, "items": 20, "held_out_auroc": 0.9, "noise_lean": 0.1}
    rules = RuleFindings("core", {"min_user_interactions": 5}, True, 30, 12)
    text = describe_training(TrainSummary("model", metrics, {}, 0, found=(rules,)), "model")
    assert text.splitlines()[1] == "Dropped interactions outside the core (core): 30 by 12 users."


def test_training_tells_which_files_and_how_many_rows_it_did_without():
    metrics = {"interactions": 1000, "users": 9, "items": 20, "held_out_auroc": 0.9, "noise_lean": 0.1}
    skipped = [SkippedFile(f"{n}.parquet", 10, None, "FILE-READ", f"Cannot read {n}\n.parquet") for n in "ab"]
    text = describe_training(
        TrainSummary("model", metrics, {"null user_id": 2, "empty item_id": 1}, 0, tuple(skipped)), "model"
    )
    assert text.splitlines()[1:3] == [
        "Left out: 2 files: Cannot read a\\n.parquet (FILE-READ); Cannot read b\\n.parquet (FILE-READ).",
        "Unusable, left out: 3 rows (null user_id 2, empty item_id 1).",
    ]


def test_files_that_clean_left_out_are_told_and_reasons_without_a_message_are_not():
    skipped = {"path": "a.parquet", "size": 10, "rows": None, "code": "FILE-READ", "reason": "Cannot read a.parquet"}
    kept = {"too_short": 5, "collaborative_only": 6, "unknown_item": 1}
    text = describe_cleaning(
        manifest(skipped_files=[skipped] * 5, notes=["log is a table."], reasons={"kept": kept, "rejected": {}}), "out"
    )
    assert text.splitlines()[3:6] == [
        "Kept without a judgement, unknown to the embeddings and the model: 1 interaction.",
        "log is a table.",
        "Left out: 5 files: Cannot read a.parquet (FILE-READ); Cannot read a.parquet (FILE-READ); "
        "Cannot read a.parquet (FILE-READ); and 2 more; see manifest.json.",
    ]
    assert "5 interactions" not in text
    assert "6 interactions" not in text


def test_users_who_are_named_as_shared_accounts_are_counted():
    some = describe_cleaning(manifest(users={"shared_accounts": 12}), "out")
    assert "Shortened 20 of 50 users.\nNamed as shared accounts: 12 users.\n" in some
    assert "Named as shared accounts: 1 user.\n" in describe_cleaning(manifest(users={"shared_accounts": 1}), "out")
    assert "shared" not in describe_cleaning(manifest(), "out")


def test_what_was_dropped_of_each_behaviour_is_told():
    counts = [
        {"behaviour": f"b{n}", "interactions": 1000 * n, "dropped": n, "journeys": n, "noise_share": None}
        for n in range(1, 13)
    ]
    told = [
        line for line in describe_cleaning(manifest(behaviours=counts[:2]), "out").splitlines() if "behaviour" in line
    ]
    assert told == ["Dropped by behaviour: b1: 1 of 1,000, b2: 2 of 2,000."]
    blank = describe_cleaning(manifest(behaviours=[{**counts[0], "behaviour": " "}]), "out")
    assert "Dropped by behaviour: ' ': 1 of 1,000." in blank
    assert "b3: 3 of 3,000" in describe_cleaning(manifest(behaviours=counts), "out")
    assert "b2: 2 of 2,000" not in describe_cleaning(manifest(behaviours=counts), "out")
    assert "12 of 12,000; 2 more in manifest.json." in describe_cleaning(manifest(behaviours=counts), "out")
