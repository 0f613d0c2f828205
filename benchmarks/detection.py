"""Measures how well trained scorers find noise in real logs: iadsr beside its peers, in one run.

    python -m benchmarks.detection DATA... --position-column position --results results.jsonl

DATA are directories that hold `interactions.parquet` and `items.parquet`. Noise is added to training positions only. An
evaluation of recommenders would use the last two interactions of each user for validation and test; they stay as they
are, and count in no measurement. Every scorer trains on the noisy log, and never sees which interactions are noise.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from iadsr.transforms.contract.columns import InteractionColumns

from .datasets import Dataset, Setting, Trial, make_trial, read_dataset
from .measures import measure
from .results import Result, Results, Run
from .scorers import DEFAULT, SCORERS
from .tables import BySeed, calibration, comparison, drops_by_popularity, overview

MIN_SECONDS = 20
"""Scoring that takes less is timed twice, and the shorter time counts."""


def measure_run(run: Run, trial: Trial) -> Result:
    """Trains a scorer, scores and measures."""
    scorer = SCORERS[run.scorer]
    started = time.process_time()
    score = scorer.fit(trial.dataset, run.seed)
    training = time.process_time() - started
    scores, scoring = _timed(score)
    if scoring < MIN_SECONDS:
        scoring = min(scoring, _timed(score)[1])
    items = trial.dataset.sequences.items
    popularity = np.bincount(items)[items]
    chosen = trial.measured
    detection = measure(trial.noise[chosen], popularity[chosen], scores[chosen], probability=scorer.probability)
    return Result(run, detection, training, scoring)


def _timed(score: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    started = time.process_time()
    scores = score()
    return scores, time.process_time() - started


def settings_of(options: argparse.Namespace) -> list[Setting]:
    """Returns every combination of the noise that was asked for."""
    if options.label:
        return [Setting("label", options.label, 0.0)]
    return list(itertools.starmap(Setting, itertools.product(options.kinds, options.noise, options.rates)))


def run_all(options: argparse.Namespace, results: Results) -> Iterator[tuple[str, Setting, BySeed]]:
    """Does the missing runs. Yields each data set and setting with its results when it is complete."""
    columns = InteractionColumns(
        options.user_column, options.item_column, options.timestamp_column, options.position_column
    )
    for directory in options.data:
        name = os.path.basename(os.path.normpath(directory))
        dataset: Dataset | None = None
        for setting in settings_of(options):
            by_seed: BySeed = {scorer: [] for scorer in options.scorers}
            for seed in range(options.seeds):
                trial: Trial | None = None
                for scorer in options.scorers:
                    run = Run(name, setting, seed, scorer)
                    if run not in results:
                        # Read and made once, and only if a run is missing.
                        dataset = dataset or read_dataset(directory, options.embeddings, columns, options.label)
                        trial = trial or make_trial(dataset, setting, seed)
                        results.add(measure_run(run, trial))
                        print(_progress(results[run]), flush=True)
                    by_seed[scorer].append(results[run])
            yield name, setting, by_seed


def describe(name: str, by_setting: dict[Setting, BySeed], seeds: int) -> str:
    """Formats all results of one data set as Markdown."""
    parts = [f"## {name}", f"{seeds} {'seed' if seeds == 1 else 'seeds'}."]
    if len(by_setting) > 1:
        parts.append(overview(by_setting))
    for setting, results in by_setting.items():
        parts += [
            f"### {setting}",
            comparison(results),
            "Genuine interactions dropped, by popularity of the item from rarest to most popular sixth, when as many "
            "are dropped as are noise:",
            drops_by_popularity(results),
        ]
        if listed := calibration(results):
            parts += ["Expected calibration error:", listed]
    return "\n\n".join(parts)


def _progress(result: Result) -> str:
    run = result.run
    return (
        f"{run.data}, {run.setting}, seed {run.seed}, {SCORERS[run.scorer].title}: "
        f"AUROC {result.detection.auroc:.4f}, {result.training_seconds:.0f} + {result.scoring_seconds:.1f} s"
    )


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("data", nargs="+", help="directories that hold interactions.parquet and items.parquet")
    add("--embeddings", help="directory that keeps the item embeddings for the next time, one directory per data set")
    add("--rates", type=float, nargs="+", default=[0.15], help="shares of the noisy log that are noise")
    add("--kinds", nargs="+", choices=("insert", "replace"), default=["insert"])
    add("--noise", nargs="+", choices=("popular", "uniform"), default=["popular"], help="how its items are drawn")
    add(
        "--label",
        help="add no noise, but find what the log calls unwanted: a boolean column, or a comparison such as 'rating<3'",
    )
    add("--scorers", nargs="+", choices=tuple(SCORERS), default=list(DEFAULT))
    add("--seeds", type=int, default=3, help="number of repetitions")
    add("--results", help="file of JSON lines that results are appended to; runs that it holds are not repeated")
    add("--threads", type=int, default=1, help="CPU threads")
    columns = InteractionColumns()
    add("--user-column", default=columns.user)
    add("--item-column", default=columns.item)
    add("--timestamp-column", default=columns.timestamp)
    add("--position-column")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs the benchmark from the command line."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    complete: dict[str, dict[Setting, BySeed]] = {}
    for name, setting, results in run_all(options, Results(options.results)):
        complete.setdefault(name, {})[setting] = results
    for name, by_setting in complete.items():
        print(f"\n{describe(name, by_setting, options.seeds)}")


if __name__ == "__main__":
    main()
