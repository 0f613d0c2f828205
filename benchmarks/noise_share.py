"""Measures the estimate of a log's share of noise, on logs whose share is known.

    python -m benchmarks.noise_share DATA... --position-column position --embeddings EMBEDDINGS

No real log is known to be clean, so a clean one is simulated from each. Its users have the lengths and tastes of real
users. They choose among all items by popularity and by nearness to their tastes, and never by accident.
Popularity-matched noise is then inserted at the given rates.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch

from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.models.noise.insertion import insert_noise
from iadsr.models.noise.share import NoiseShare
from iadsr.models.training.detection_metrics import calibration_error
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.models.vectors.co_occurrence import unit_vectors
from iadsr.transforms.contract.columns import InteractionColumns

from .datasets import STREAM, Dataset, read_dataset
from .peers.simple import co_occurrence_vectors
from .scorers import find_share
from .tables import format_share

TASTES = 3
"""Items of a real user that the simulated user likes."""
DEVOTION = 16.0
"""Logarithm of how much likelier an item becomes if it is exactly like a taste."""


def simulate_clean(dataset: Dataset, seed: int) -> Sequences:
    """Draws a log in which every interaction follows the user's tastes.

    An item's place is its co-occurrence vector beside its text embedding. Each simulated user likes TASTES items of a
    real user, and draws as many different items as the real user has. An item is drawn in proportion to its popularity
    times the exponential of DEVOTION times its largest cosine to a taste.
    """
    generator, sequences = np.random.default_rng([STREAM, seed]), dataset.sequences
    popularity = np.bincount(sequences.items, minlength=len(dataset.semantic))
    vectors, present = co_occurrence_vectors(sequences, len(dataset.semantic))
    texts = dataset.semantic - dataset.semantic[dataset.has_semantic].mean(0)
    place = (
        np.concatenate(
            [unit_vectors(vectors * present[:, None]), unit_vectors(texts * dataset.has_semantic[:, None])], 1
        )
        / 2**0.5
    )
    chosen, lengths = [], []
    with np.errstate(divide="ignore"):
        log_popularity = np.log(popularity)  # [V]; minus infinity if an item was never chosen
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        own = np.unique(sequences.items[start:stop])
        near = (place @ place[generator.choice(own, TASTES)].T).max(1)  # [V]
        # Taking the largest logarithms plus Gumbel noise is a draw without replacement.
        keys = log_popularity + DEVOTION * near + generator.gumbel(size=len(near))
        drawn = np.argpartition(-keys, len(own) - 1)[: len(own)]
        chosen.append(generator.permutation(drawn))
        lengths.append(len(own))
    return Sequences.from_lengths(np.concatenate(chosen), np.array(lengths))


def measure_share(dataset: Dataset, rate: float, seed: int) -> str:
    """Inserts noise, trains and estimates the share. Returns a row of the table."""
    noisy = insert_noise(dataset.sequences, rate, uniform_share=0.0, seed=np.random.SeedSequence([STREAM, seed]))
    sequences = noisy.sequences
    result = train_model(sequences, dataset.semantic, dataset.has_semantic, IADSRConfig(), TrainingConfig(seed=seed))
    scores = score_sequences(result.model, sequences, result.vectors)
    share, recalibration = find_share(result.model, sequences, scores)
    held_out = result.metrics["held_out_calibration_error"]
    if not isinstance(share, NoiseShare):
        return f"| {noisy.inserted.mean():.1%} | {format_share(share)} | 0.0% | | {held_out:.3f} |"
    judged = scores.scored
    probability = scores.noise_probability[judged]
    adjusted = recalibration.apply(probability) if recalibration else probability
    error = calibration_error(noisy.inserted[judged], adjusted, np.ones(len(adjusted)))
    return f"| {noisy.inserted.mean():.1%} | {format_share(share)} | {share.lower:.1%} | {error:.3f} | {held_out:.3f} |"


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.noise_share", description=(__doc__ or "").partition("\n")[0]
    )
    add, columns = parser.add_argument, InteractionColumns()
    add("data", nargs="+", help="directories that hold interactions.parquet and items.parquet")
    add("--embeddings", help="directory that keeps the item embeddings, one directory per data set")
    add("--rates", type=float, nargs="+", default=[0.0, 0.05, 0.1, 0.2], help="shares of noise to insert")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1, help="CPU threads")
    add("--position-column")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for directory in options.data:
        dataset = read_dataset(directory, options.embeddings, replace(columns, position=options.position_column))
        clean = replace(dataset, sequences=simulate_clean(dataset, options.seed), time=None)
        print(f"\n{dataset.name}, simulated: {len(clean.sequences.items):,} interactions\n")
        print("| inserted | estimated share (95% interval) | auto drops | calibration error | on held-out users |")
        print("| --- | --- | --- | --- | --- |")
        for rate in options.rates:
            print(measure_share(clean, rate, options.seed), flush=True)


if __name__ == "__main__":
    main()
