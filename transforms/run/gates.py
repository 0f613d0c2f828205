"""Gates: figures of a finished run that stop a schedule when something is off.

Each gate is a figure of the run's manifest, alone or against an earlier run's, and two bounds. Beyond the first one the
gate warns, beyond the second one it fails. To add a gate, add a record to GATES.
"""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
import yaml

from ...models.core.errors import InputError
from ...models.core.plain_yaml import load_plain_yaml
from ...models.core.reasons import is_requested
from ..files.storage import read_bytes
from .manifest import Manifest

Level = Literal["ok", "warn", "fail", "unknown"]

MIN_PSI_SHARE = 0.05
"""Bins of scores are joined until each holds at least this share of the earlier run's."""

MIN_DROPPED = 0.01
"""If a smaller share of the interactions was dropped as noise, buckets differ by chance."""

_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Bounds:
    """When a gate warns and when it fails. None: never."""

    warn: float | None
    """The gate warns beyond this."""
    fail: float | None
    """The gate fails beyond this."""


@dataclasses.dataclass(frozen=True)
class Gate:
    """One figure that is looked at."""

    name: str
    """Its name, in the file of gates too."""
    meaning: str
    """What it is, in a few words."""
    bounds: Bounds
    """Its default bounds."""
    measure: Callable[[Manifest, Manifest | None], float | None]
    """Computes the figure of a run and an earlier one. None if it is not known."""
    shown: str = "{:.1%}"
    """How the figure is written."""
    low_is_bad: bool = False
    """Whether a gate warns below its bounds, and not above."""
    retrain: bool = False
    """Whether a new training helps if the gate warns or fails."""


@dataclasses.dataclass(frozen=True)
class GateResult:
    """What one gate says of a run."""

    name: str
    """Name of the gate."""
    level: Level
    """Whether the figure is fine. unknown: there is no such figure."""
    value: float | None
    """The figure; None if it is not known."""
    warn: float | None
    """The gate warns beyond this; None: never."""
    fail: float | None
    """The gate fails beyond this; None: never."""
    meaning: str
    """What the figure is."""
    shown: str
    """The figure as text."""


@dataclasses.dataclass(frozen=True)
class Checked:
    """What all gates say of a run."""

    gates: tuple[GateResult, ...]
    """In the order of GATES, without those that are off."""
    retrain: tuple[str, ...]
    """Why a new model should be trained. Empty if there is no reason."""
    notes: tuple[str, ...] = ()
    """What is to be known about the comparison, in sentences."""

    @property
    def passed(self) -> bool:
        """Whether no gate fails."""
        return all(gate.level != "fail" for gate in self.gates)


def _change(of: Callable[[Manifest], int]) -> Callable[[Manifest, Manifest | None], float | None]:
    def measure(run: Manifest, earlier: Manifest | None) -> float | None:
        return abs(of(run) - of(earlier)) / of(earlier) if earlier is not None and of(earlier) else None

    return measure


def _usable(run: Manifest) -> int:
    return max(run.rows.read - run.rows.rejected, 1)


def _unknown_items(run: Manifest, _: Manifest | None) -> float | None:
    return None if run.model is None else run.reasons.kept.get("unknown_item", 0) / _usable(run)


def _unfairness(run: Manifest, _: Manifest | None) -> float | None:
    """Returns the ratio of the genuine drop rates of the most and the least affected bucket of popularity."""
    buckets = [bucket for bucket in run.popularity_buckets if bucket.expected_genuine_drop_rate is not None]
    interactions, dropped = (sum(getattr(b, name) for b in buckets) for name in ("interactions", "dropped"))
    rates = [bucket.expected_genuine_drop_rate or 0.0 for bucket in buckets]
    if not rates or dropped < MIN_DROPPED * interactions:
        return None
    return max(rates) / min(rates) if min(rates) > 0 else float("inf")


def _auroc(run: Manifest, _: Manifest | None) -> float | None:
    value = None if run.model is None else run.model.metrics.get("held_out_auroc")
    return float(value) if isinstance(value, (int, float)) else None


def _age(of: Callable[[Manifest], float]) -> Callable[[Manifest, Manifest | None], float | None]:
    def measure(run: Manifest, _: Manifest | None) -> float | None:
        changed = of(run)
        return (datetime.fromisoformat(run.started_at).timestamp() - changed) / _DAY if changed else None

    return measure


def population_stability(now: Sequence[int], before: Sequence[int]) -> float | None:
    """Returns the population stability index of two distributions of scores: 0 if they are equal, and never negative.

    It is the sum over bins of (p - q) ln(p / q), p and q being the shares of the bin. Neighbouring bins are joined
    until they hold MIN_PSI_SHARE of the earlier scores; the last ones may hold less. Below 0.1 is usually taken for no
    change, above 0.25 for a large one.

    Args:
        now: Scores in each bin.
        before: The earlier ones, in the same bins.

    Returns:
        The index. None if there are no scores, or the numbers of bins differ.
    """
    if len(now) != len(before):
        return None
    counts = [np.array(each, float) for each in (now, before)]
    if not all(count.sum() for count in counts):
        return None
    reached = np.cumsum(counts[1]) / counts[1].sum()
    # The bin that reaches a multiple of the share is the last of its group.
    group = np.floor(np.append(0, reached[:-1]) / MIN_PSI_SHARE + 1e-9).astype(int)
    _, group = np.unique(group, return_inverse=True)
    joined = [np.bincount(group, count) + 0.5 for count in counts]  # half an interaction: no share is 0
    p, q = (count / count.sum() for count in joined)
    return float(((p - q) * np.log(p / q)).sum())


def _only_options(run: Manifest, earlier: Manifest) -> tuple[str, ...]:
    """Returns what differs between runs of the same log and model, such as options; nothing if these differ too."""
    changed = tuple(name for name, value in run.identity.items() if earlier.identity.get(name) != value)
    return () if not earlier.identity or {"input", "model", "embeddings"} & set(changed) else changed


def _drift(run: Manifest, earlier: Manifest | None) -> float | None:
    """Returns how far the scores have moved. Those of another model are others on the same log too.

    So are those of the same log and model if only options differ. What the model says itself is compared: what becomes
    of it moves with the share of noise that is estimated, which has a gate of its own and is rough in a small log.
    """
    if earlier is not None and _only_options(run, earlier):
        return None
    models = [each and each.model and each.model.fingerprint for each in (run, earlier)]
    if models[0] != models[1]:
        return None
    now, before = (each and each.model_probabilities for each in (run, earlier))
    if now is None or before is None:  # an older version has not counted them
        histograms = (each and each.noise_probability_histogram for each in (run, earlier))
        now, before = (each and tuple(map(sum, zip(each.kept, each.dropped, strict=True))) for each in histograms)
    return population_stability(now, before) if now and before else None


def _unusable(run: Manifest) -> int:
    """Returns how many rows were rejected that no option asks to reject."""
    return run.rows.rejected - sum(rows for reason, rows in run.reasons.rejected.items() if is_requested(reason))


GATES = (
    Gate("rows_change", "change of rows read, up or down", Bounds(0.3, 0.5), _change(lambda run: run.rows.read)),
    Gate("users_change", "change of users, up or down", Bounds(0.3, 0.5), _change(lambda run: run.users.total)),
    Gate(
        "rejected_rows",
        "share of rows that cannot be used",
        Bounds(0.01, 0.05),
        lambda run, _: _unusable(run) / max(run.rows.read, 1),
    ),
    Gate(
        "noise_share",
        "estimated share of noise",
        Bounds(0.3, 0.5),
        lambda run, _: None if run.noise_share is None else run.noise_share.estimate,
    ),
    Gate(
        "drop_rate", "share of interactions dropped", Bounds(0.3, 0.5), lambda run, _: run.rows.dropped / _usable(run)
    ),
    Gate(
        "emptied_users",
        "share of users of whom nothing is left",
        Bounds(0.05, 0.2),
        lambda run, _: run.users.emptied / max(run.users.total, 1),
    ),
    Gate(
        "unfairness",
        "genuine drops, most against least affected bucket of popularity",
        Bounds(3.0, 10.0),
        _unfairness,
        "{:.1f}",
    ),
    Gate(
        "unknown_items",
        "share of interactions with items that neither model nor embeddings know",
        Bounds(0.05, 0.2),
        _unknown_items,
        retrain=True,
    ),
    Gate(
        "model_auroc",
        "AUROC of the model on held-out users",
        Bounds(0.75, 0.65),
        _auroc,
        "{:.3f}",
        low_is_bad=True,
        retrain=True,
    ),
    Gate("score_drift", "population stability index of the scores", Bounds(0.1, 0.25), _drift, "{:.3f}", retrain=True),
    Gate(
        "model_age",
        "days since the model was trained",
        Bounds(45.0, None),
        _age(lambda run: run.model.changed_at if run.model else 0.0),
        "{:.1f}",
        retrain=True,
    ),
    Gate(
        "embeddings_age",
        "days since the embeddings were written",
        Bounds(90.0, None),
        _age(lambda run: run.embeddings.changed_at if run.embeddings else 0.0),
        "{:.1f}",
    ),
)
"""All gates. Figures that compare are unknown without an earlier run, and those of a model with rules alone."""


def check_gates(run: Manifest, earlier: Manifest | None = None, bounds: dict[str, Bounds] | None = None) -> Checked:
    """Checks a run against its gates.

    Args:
        run: Manifest of the run.
        earlier: Manifest of the run that it is compared with.
        bounds: Bounds of gates by name; the defaults for those that are missing. Without any bound a gate is off.
    """
    results, retrain = [], []
    for gate in GATES:
        own = (bounds or {}).get(gate.name, gate.bounds)
        if own == Bounds(None, None):
            continue
        value = gate.measure(run, earlier)
        level = _level(value, own, low_is_bad=gate.low_is_bad)
        shown = "" if value is None else gate.shown.format(value)
        results.append(GateResult(gate.name, level, value, own.warn, own.fail, gate.meaning, shown))
        if gate.retrain and level in ("warn", "fail"):
            retrain.append(f"{gate.meaning} {shown}")
    only = () if earlier is None else _only_options(run, earlier)
    same = "Log and model are those of the earlier run, so there is no drift to look at. What differs:"
    return Checked(tuple(results), tuple(retrain), (f"{same} {', '.join(only)}.",) if only else ())


def _level(value: float | None, bounds: Bounds, *, low_is_bad: bool) -> Level:
    if value is None:
        return "unknown"
    sign = -1 if low_is_bad else 1
    if bounds.fail is not None and sign * value > sign * bounds.fail:
        return "fail"
    return "warn" if bounds.warn is not None and sign * value > sign * bounds.warn else "ok"


def read_gates(path: str) -> dict[str, Bounds]:
    """Reads bounds of gates from a YAML file: `name: {warn: 0.1, fail: 0.2}`, or `name: off`.

    A bound that is missing keeps its default, and null means never.

    Raises:
        InputError: The file cannot be read, is not YAML, or names what is no gate or no bound.
    """
    try:
        content = load_plain_yaml(read_bytes(path))
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise ValueError(f"{type(content).__name__} instead of lines of gate: bounds")
        return {str(name): _bounds(str(name), value) for name, value in content.items()}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"The gates {path} cannot be used",
            code="GATES",
            found=" ".join(str(error).split()),
            expected="lines such as drop_rate: {warn: 0.1, fail: 0.2}, or drop_rate: off; gates are "
            + ", ".join(gate.name for gate in GATES),
            fix="correct the file",
        ) from error


def _bounds(name: str, value: Any) -> Bounds:
    gate = next((gate for gate in GATES if gate.name == name), None)
    if gate is None:
        raise ValueError(f"{name} is no gate")
    if value is False:  # `off` in YAML
        return Bounds(None, None)
    if not isinstance(value, dict) or not set(value) <= {"warn", "fail"}:
        raise ValueError(f"{name}: {value!r} instead of warn and fail")
    for bound in value.values():
        if isinstance(bound, bool) or not (bound is None or isinstance(bound, (int, float))) or bound != bound:
            raise ValueError(f"{name}: {bound!r} is no number")
    return dataclasses.replace(gate.bounds, **value)
