"""Gates say what is off in a run, by figures of its manifest."""

import dataclasses
import math

import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.run import manifest as parts
from iadsr.transforms.run.gates import GATES, Bounds, check_gates, population_stability, read_gates

DAY = 86_400
EDGES = tuple(bin / 10 for bin in range(11))


def histogram(kept: list[int]) -> parts.ProbabilityHistogram:
    return parts.ProbabilityHistogram(EDGES, tuple(kept), (0,) * 10)


def bucket(interactions: int, dropped: int, genuine: float | None) -> parts.PopularityBucket:
    return parts.PopularityBucket("1", 1, 1, 1, interactions, dropped, dropped / interactions, genuine)


def level(checked, name: str) -> str:
    return next(gate.level for gate in checked.gates if gate.name == name)


def value(checked, name: str):
    return next(gate.value for gate in checked.gates if gate.name == name)


def test_scores_of_another_model_are_no_drift(run):
    flat = dataclasses.replace(run, noise_probability_histogram=histogram([100] * 10))
    assert level(check_gates(flat, run), "score_drift") == "fail"
    retrained = dataclasses.replace(flat, model=dataclasses.replace(run.model, fingerprint="34"))
    assert level(check_gates(retrained, run), "score_drift") == "unknown"
    assert level(check_gates(dataclasses.replace(flat, model=None), run), "score_drift") == "unknown"


def test_where_only_options_differ_there_is_no_drift_and_that_is_said(run):
    identity = {"input": "1", "options": "2", "rules": "3", "model": "4", "embeddings": "5"}
    earlier = dataclasses.replace(run, identity=identity)
    flat = dataclasses.replace(run, noise_probability_histogram=histogram([100] * 10))
    ruled = dataclasses.replace(flat, identity=identity | {"options": "6", "rules": "7"})
    checked = check_gates(ruled, earlier)
    assert level(checked, "score_drift") == "unknown"
    assert checked.retrain == ()
    assert checked.notes == (
        "Log and model are those of the earlier run, so there is no drift to look at. What differs: options, rules.",
    )
    grown = dataclasses.replace(ruled, identity=identity | {"options": "6", "input": "8"})
    for other, before in ((grown, earlier), (flat, run), (ruled, run)):
        checked = check_gates(other, before)
        assert (level(checked, "score_drift"), checked.notes) == ("fail", ())


def test_rows_that_are_rejected_on_request_do_not_count(run):
    reasons = dataclasses.replace(run.reasons, rejected=run.reasons.rejected | {"forgotten user_id": 300})
    rows = dataclasses.replace(run.rows, rejected=run.rows.rejected + 300)
    assert value(check_gates(dataclasses.replace(run, reasons=reasons, rows=rows), run), "rejected_rows") == 0.005


def test_a_run_like_the_one_before_passes_every_gate(run):
    checked = check_gates(run, run)
    assert [gate.name for gate in checked.gates] == [gate.name for gate in GATES]
    assert {gate.name: gate.level for gate in checked.gates if gate.level != "ok"} == {"embeddings_age": "unknown"}
    assert checked.passed
    assert checked.retrain == ()
    figures = {gate.name: gate.value for gate in checked.gates}
    assert figures["rejected_rows"] == 0.005
    assert figures["drop_rate"] == pytest.approx(45 / 995)
    assert figures["unknown_items"] == pytest.approx(20 / 995)
    assert figures["unfairness"] == pytest.approx(1.5)
    assert figures["model_age"] == 10
    assert (figures["rows_change"], figures["score_drift"]) == (0, 0)


def test_what_needs_an_earlier_run_or_a_model_is_unknown_without_and_never_fails(run):
    alone = check_gates(run)
    assert {level(alone, name) for name in ("rows_change", "users_change", "score_drift")} == {"unknown"}
    rules = dataclasses.replace(
        run, model=None, embeddings=None, noise_share=None, noise_probability_histogram=None, popularity_buckets=()
    )
    names = ("noise_share", "unfairness", "unknown_items", "model_auroc", "score_drift", "model_age", "embeddings_age")
    assert {level(check_gates(rules, run), name) for name in names} == {"unknown"}
    assert check_gates(rules, run).passed


def test_a_feed_that_lost_half_its_rows_or_doubled_them_fails(run):
    for rows in (parts.RowCounts(400, 380, 20, 0), parts.RowCounts(2000, 1980, 20, 0)):
        checked = check_gates(dataclasses.replace(run, rows=rows), run)
        assert level(checked, "rows_change") == "fail"
        assert not checked.passed
    fewer = dataclasses.replace(run, users=parts.UserCounts(65, 0, 0, 0))
    assert level(check_gates(fewer, run), "users_change") == "warn"
    assert check_gates(fewer, run).passed


def test_scores_that_moved_and_a_weak_or_old_model_are_reasons_to_train_again(run):
    scores = histogram([100, 100, 100, 50, 40, 30, 100, 200, 150, 130])
    moved = dataclasses.replace(run, noise_probability_histogram=scores)
    checked = check_gates(moved, run)
    assert level(checked, "score_drift") == "fail"
    assert checked.retrain == (f"population stability index of the scores {value(checked, 'score_drift'):.3f}",)
    weak = parts.ModelOrigin("model", "33", "gru4rec", {"held_out_auroc": 0.7}, 1_000_864_000.0 - 50 * DAY)
    checked = check_gates(dataclasses.replace(run, model=weak), run)
    assert (level(checked, "model_auroc"), level(checked, "model_age")) == ("warn", "warn")
    assert checked.retrain == ("AUROC of the model on held-out users 0.700", "days since the model was trained 50.0")


def test_fairness_is_judged_only_where_something_was_dropped(run):
    unfair = dataclasses.replace(run, popularity_buckets=(bucket(500, 20, 0.0), bucket(495, 25, 0.06)))
    assert value(check_gates(unfair), "unfairness") == float("inf")
    assert level(check_gates(unfair), "unfairness") == "fail"
    little = dataclasses.replace(run, popularity_buckets=(bucket(500, 0, 0.0), bucket(495, 5, 0.01)))
    assert value(check_gates(little), "unfairness") is None


def test_the_stability_index_joins_thin_bins_and_is_that_of_shares():
    even = [100] * 10
    assert population_stability(even, even) == 0
    shifted = population_stability([200, 0, *[100] * 8], even)
    p, q = (200.5, 0.5), (100.5, 100.5)
    n = 1005
    assert shifted == pytest.approx(sum((a - b) / n * math.log(a / b) for a, b in zip(p, q, strict=True)))
    # Bins with fewer than one in twenty are joined, so one stray score is no drift.
    thin = [1000, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert population_stability([1000, 0, 0, 0, 0, 0, 0, 0, 5, 1], thin) == pytest.approx(0, abs=0.01)
    assert population_stability([0] * 10, even) is None
    assert population_stability([100] * 9, even) is None


def test_drift_is_that_of_what_the_model_says_and_not_of_the_estimated_share(run):
    said = dataclasses.replace(run, model_probabilities=(100,) * 50)
    jumped = dataclasses.replace(said, noise_probability_histogram=histogram([1000, *[0] * 9]))
    assert value(check_gates(jumped, said), "score_drift") == 0
    moved = dataclasses.replace(said, model_probabilities=(3000, *(100,) * 49))
    assert level(check_gates(moved, said), "score_drift") == "fail"
    # An older version has not counted what the model says.
    assert level(check_gates(jumped, run), "score_drift") == "fail"


def test_a_file_sets_bounds_and_turns_gates_off(run, tmp_path):
    path = tmp_path / "gates.yaml"
    path.write_text("drop_rate: {warn: 0.01, fail: 0.02}\nmodel_age: off\nrejected_rows: {warn: null}\n")
    bounds = read_gates(str(path))
    assert bounds == {
        "drop_rate": Bounds(0.01, 0.02),
        "model_age": Bounds(None, None),
        "rejected_rows": Bounds(None, 0.05),
    }
    checked = check_gates(run, run, bounds)
    assert level(checked, "drop_rate") == "fail"
    assert "model_age" not in [gate.name for gate in checked.gates]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("drops: off", "drops is no gate"),
        ("drop_rate: 0.1", "drop_rate: 0.1 instead of warn and fail"),
        ("drop_rate: {warn: high}", "'high' is no number"),
        ("drop_rate: {warn: .nan}", "nan is no number"),
        ("drop_rate: {warning: 0.1}", "instead of warn and fail"),
        ("- a", "list instead of lines"),
        ("a: [", "expected"),
    ],
)
def test_a_file_that_sets_no_bounds_is_refused(tmp_path, text, found):
    (tmp_path / "gates.yaml").write_text(text)
    with pytest.raises(InputError, match="cannot be used") as caught:
        read_gates(str(tmp_path / "gates.yaml"))
    assert found in str(caught.value)
