"""Measures a training that starts from an earlier model, on a log that has grown since, beside one from nothing.

    python -m benchmarks.grown_log DATA... --position-column position --embeddings EMBEDDINGS

Popularity-matched noise is added to the whole log. The earlier model is trained on the interactions up to a point in
time. Then all of the log is trained on: from nothing, and from the earlier model. All three score all of the log, as
`benchmarks.stale_model` has it.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from iadsr.models.core.item_vectors import ItemVectors
from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.models.training.train_model import TrainingResult, train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.models.training.warm_start import Start
from iadsr.transforms.contract.columns import InteractionColumns

from .datasets import Setting, Trial, make_trial, read_dataset
from .stale_model import auroc, times_of


def measure(trial: Trial, time_of_each: np.ndarray, part: float, seed: int) -> list[str]:
    """Trains all three, and returns the rows of the table."""
    dataset = trial.dataset
    grown = dataset.sequences
    earlier = time_of_each <= np.quantile(time_of_each, part)
    kept = grown.restrict(earlier)
    known, _ = kept.take(np.flatnonzero(kept.lengths))

    def train(sequences: Sequences, start: Start | None = None) -> tuple[TrainingResult, float]:
        began = time.process_time()
        training = TrainingConfig(seed=seed)
        result = train_model(sequences, dataset.semantic, dataset.has_semantic, IADSRConfig(), training, start=start)
        return result, time.process_time() - began

    def row(title: str, model: IADSR, vectors: ItemVectors, held_out: float, seconds: float) -> str:
        probability = score_sequences(model, grown, vectors).noise_probability
        groups = (trial.measured, trial.measured & ~earlier)
        figures = [*(auroc(trial, probability, group) for group in groups), f"{held_out:.4f}", f"{seconds:.0f}"]
        return f"| {title} | {' | '.join(figures)} |"

    before, before_seconds = train(known)
    packed = before.vectors.pack()
    start = Start(before.model, packed.collaborative, packed.has_collaborative, f"seed {seed}")
    vectors = start.vectors(dataset.semantic, dataset.has_semantic)
    anew, anew_seconds = train(grown)
    after, after_seconds = train(grown, start)
    name = "held_out_auroc"
    earlier_title = f"the first {part:.0%}"
    return [
        row(earlier_title, before.model, vectors, before.metrics[name], before_seconds),
        row("all, from nothing", anew.model, anew.vectors, anew.metrics[name], anew_seconds),
        row(f"all, from that of {earlier_title}", after.model, after.vectors, after.metrics[name], after_seconds),
    ]


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grown_log", description=(__doc__ or "").partition("\n")[0]
    )
    add, columns = parser.add_argument, InteractionColumns()
    add("data", nargs="+", help="directories that hold interactions.parquet and items.parquet")
    add("--embeddings", help="directory that keeps the item embeddings, one directory per data set")
    add("--part", type=float, default=0.9, help="share of the log, by time, that the earlier model learns from")
    add("--rate", type=float, default=0.15, help="share of the noisy log that is noise")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--position-column")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for directory in options.data:
        dataset = read_dataset(directory, options.embeddings, replace(columns, position=options.position_column))
        assert dataset.time is not None, "read from a file, it has times"
        for seed in options.seeds:
            trial = make_trial(dataset, Setting("insert", "popular", options.rate), seed)
            print(f"\n{dataset.name}, seed {seed}\n")
            print(f"| model of | AUROC | AUROC after the first {options.part:.0%} | held-out AUROC | CPU seconds |")
            print("| --- | --- | --- | --- | --- |")
            print("\n".join(measure(trial, times_of(trial, dataset.time), options.part, seed)), flush=True)


if __name__ == "__main__":
    main()
