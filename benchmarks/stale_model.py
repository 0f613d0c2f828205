"""Measures how a model finds noise in a log that has grown since it was trained, beside a model that is up to date.

    python -m benchmarks.stale_model DATA... --position-column position --embeddings EMBEDDINGS

Popularity-matched noise is added to the whole log. One model is trained on all of it, the other on the interactions up
to a point in time. Both then score all of it, as `iadsr clean` does: items that the earlier log did not have borrow
vectors from items of similar text. Only the later interactions are measured.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.models.noise.share import NoiseShare, NoShare
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.models.vectors.neighbours import with_borrowed
from iadsr.transforms.contract.columns import InteractionColumns

from .datasets import Setting, Trial, make_trial, read_dataset
from .scorers import find_share
from .tables import format_share


def times_of(trial: Trial, time: np.ndarray) -> np.ndarray:
    """Returns the time of each interaction of a trial, [N], from the times of the genuine ones.

    Noise gets the time of the interaction before it. If it comes first in its sequence, it gets the time of the one
    after it.
    """
    sequences, genuine = trial.dataset.sequences, ~trial.noise
    rows = np.arange(len(genuine))
    before = np.maximum.accumulate(np.where(genuine, rows, -1))
    after = np.minimum.accumulate(np.where(genuine, rows, len(rows) - 1)[::-1])[::-1]
    first = before < sequences.offsets[:-1][sequences.users]
    return time[(np.cumsum(genuine) - 1)[np.where(first, after, before)]]


def score_by_model_of(trial: Trial, learned: np.ndarray, seed: int) -> tuple[np.ndarray, NoiseShare | NoShare]:
    """Trains on the interactions `learned`, bool [N]. Returns all noise probabilities, [N], and the estimated share."""
    dataset = trial.dataset
    earlier = dataset.sequences.restrict(learned)
    known, _ = earlier.take(np.flatnonzero(earlier.lengths))
    result = train_model(known, dataset.semantic, dataset.has_semantic, IADSRConfig(), TrainingConfig(seed=seed))
    vectors = with_borrowed(result.vectors.pack()).unpack(result.model.config.collaborative_dimension)
    scores = score_sequences(result.model, dataset.sequences, vectors)
    return scores.noise_probability, find_share(result.model, dataset.sequences, scores)[0]


def measure(trial: Trial, time: np.ndarray, part: float, seed: int) -> list[str]:
    """Compares the model of the whole log with that of an earlier part. Returns the rows of the table."""
    sequences = trial.dataset.sequences
    earlier = time <= np.quantile(time, part)
    known_user = np.bincount(sequences.users[earlier], minlength=len(sequences))[sequences.users] > 0
    known_item = np.bincount(sequences.items[earlier], minlength=len(trial.dataset.semantic))[sequences.items] > 0
    later = trial.measured & ~earlier
    groups = (later, later & known_user, later & ~known_user, later & known_item, later & ~known_item)
    counts = " | ".join(f"{group.sum():,}" for group in groups)
    rows = [f"| interactions | {counts} | {trial.noise.mean():.1%} |"]
    for title, learned in (("all of the log", np.ones_like(earlier)), (f"the first {part:.0%}", earlier)):
        probability, share = score_by_model_of(trial, learned, seed)
        rows.append(
            f"| {title} | {' | '.join(auroc(trial, probability, group) for group in groups)} | {format_share(share)} |"
        )
    return rows


def auroc(trial: Trial, probability: np.ndarray, chosen: np.ndarray) -> str:
    """Formats the AUROC of some interactions, bool [N]; a dash if all of them are noise, or none is."""
    noise = trial.noise[chosen]
    return f"{roc_auc_score(noise, probability[chosen]):.4f}" if noise.any() and not noise.all() else "-"


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stale_model", description=(__doc__ or "").partition("\n")[0]
    )
    add, columns = parser.add_argument, InteractionColumns()
    add("data", nargs="+", help="directories that hold interactions.parquet and items.parquet")
    add("--embeddings", help="directory that keeps the item embeddings, one directory per data set")
    add("--part", type=float, default=0.8, help="share of the log, by time, that the earlier model learns from")
    add("--rate", type=float, default=0.15, help="share of the noisy log that is noise")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1, help="CPU threads")
    add("--position-column")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for directory in options.data:
        dataset = read_dataset(directory, options.embeddings, replace(columns, position=options.position_column))
        time = dataset.time
        assert time is not None, "read from a file, it has times"
        trial = make_trial(dataset, Setting("insert", "popular", options.rate), options.seed)
        print(f"\n{dataset.name}, AUROC of what came after the first {options.part:.0%}\n")
        print("| model of | all | users it knows | new users | items it knows | new items | noise of the log |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        print("\n".join(measure(trial, times_of(trial, time), options.part, options.seed)), flush=True)


if __name__ == "__main__":
    main()
