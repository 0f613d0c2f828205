"""The metrics of a run, read by the parser of Prometheus' own library."""

import dataclasses
import re

from prometheus_client.parser import text_string_to_metric_families

from iadsr.transforms.run import manifest as parts
from iadsr.transforms.run.gates import GATES, check_gates
from iadsr.transforms.run.prometheus_text import prometheus_text


def parsed(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Metrics by name, their samples by the values of their labels but for the dataset."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation.endswith((".", "1.", "so."))
        assert all(sample.labels["dataset"] == "shop" for sample in family.samples)
        samples = {tuple(sample.labels.values())[1:]: sample.value for sample in family.samples}
        assert len(samples) == len(family.samples), "no two samples of the same labels"
        assert family.name not in found
        found[family.name] = samples
    return found


def test_every_figure_is_there_in_base_units(run):
    found = parsed(prometheus_text(run, check_gates(run, run), "shop"))
    assert found["iadsr_input_rows"] == {(): 1000}
    assert found["iadsr_rows"] == {("kept",): 950, ("dropped",): 45, ("rejected",): 5}
    assert found["iadsr_run_end_timestamp_seconds"] == {(): 1_000_864_200}
    assert found["iadsr_run_duration_seconds"] == {(): 1.5}
    assert found["iadsr_model_changed_timestamp_seconds"] == {(): 1_000_000_000}
    assert found["iadsr_interactions_kept"] == {("unknown_item",): 20}
    assert found["iadsr_noise_ratio"] == {("estimate",): 0.1, ("lower",): 0.05, ("upper",): 0.15}
    assert found["iadsr_model_auroc"] == {(): 0.9}
    assert found["iadsr_retrain"] == {(): 0}
    assert found["iadsr_run_info"] == {("0.1.0", "33"): 1}
    # Not known: when the embeddings were written.
    assert "iadsr_embeddings_changed_timestamp_seconds" not in found
    assert all(re.fullmatch(r"iadsr_[a-z_]+", name) for name in found)


def test_each_gate_has_its_figure_and_one_level(run):
    dropping = dataclasses.replace(run, rows=parts.RowCounts(1000, 300, 695, 5))
    found = parsed(prometheus_text(dropping, check_gates(dropping, run), "shop"))
    levels = {}
    for (gate, level), value in found["iadsr_gate_level"].items():
        levels.setdefault(gate, {})[level] = value
    assert set(levels) == {gate.name for gate in GATES}
    assert all(sorted(values.values()) == [0, 0, 0, 1] for values in levels.values())
    assert levels["drop_rate"]["fail"] == 1
    assert levels["embeddings_age"]["unknown"] == 1
    assert found["iadsr_gate_value"][("drop_rate",)] == 695 / 995
    assert ("embeddings_age",) not in found["iadsr_gate_value"]


def test_a_run_by_rules_alone_has_no_metrics_of_a_model(run):
    ruled = dataclasses.replace(
        run,
        model=None,
        embeddings=None,
        policy=None,
        noise_share=None,
        noise_probability_histogram=None,
        items=parts.ItemTotals(50, None, None, None),
    )
    found = parsed(prometheus_text(ruled, check_gates(ruled), "shop"))
    assert not {"iadsr_model_auroc", "iadsr_noise_ratio", "iadsr_items_unknown"} & set(found)
    assert found["iadsr_items"] == {(): 50}


def test_odd_names_and_figures_come_back_as_they_were(run):
    odd = 'a "quoted" \\ name\nof two lines \udc80'
    told = dataclasses.replace(run, reasons=parts.ReasonCounts({}, {}, {odd: 3}))
    infinite = dataclasses.replace(check_gates(run), gates=(_gate("unfairness", float("inf")),))
    found = parsed(prometheus_text(told, infinite, "shop"))
    assert found["iadsr_rows_rejected"] == {(odd.replace("\udc80", "\\udc80"),): 3}
    assert found["iadsr_gate_value"] == {("unfairness",): float("inf")}


def _gate(name: str, value: float):
    from iadsr.transforms.run.gates import GateResult

    return GateResult(name, "fail", value, 3.0, 10.0, "", "")
