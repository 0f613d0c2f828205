"""Measures where the gain of cleaning comes from: what is left out, the weights, and which users and items gain.

    python -m benchmarks.where_it_helps DATA... --position-column position --embeddings EMBEDDINGS

The log is cleaned with `--hold-out 2`, as the README shows it. A recommender is then trained on the log as it is, on
what cleaning leaves, on halves of that, and on controls that do the same to other interactions. All are tested on the
same items: each user's last one.
"""

import argparse
import os
import tempfile
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iadsr.models.core.sequences import Sequences
from iadsr.models.evaluation.bootstrap import Estimate, Resampled
from iadsr.models.evaluation.comparison import Treatment, compare_treatments
from iadsr.models.evaluation.downstream_recommender import DownstreamConfig
from iadsr.models.evaluation.held_out import HELD_OUT, HeldOutLog
from iadsr.models.evaluation.ranking import METRICS
from iadsr.pipeline import clean, train
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.output_layout import INTERACTIONS
from iadsr.transforms.items.embedding_files import read_embeddings
from iadsr.transforms.items.embedding_table import align

from .datasets import STREAM, read_dataset
from .peers.simple import text_similarity

METRIC = "NDCG@10"
COLUMNS = InteractionColumns()


def read_cleaned(output: str) -> tuple[Sequences, npt.NDArray[np.float32], pa.Array]:
    """Reads the interactions of a run, without those that rules dropped.

    Returns:
        The log, the weight of each interaction, float32 [N], and the ids of the items.
    """
    log = pq.read_table(
        os.path.join(output, INTERACTIONS), columns=[COLUMNS.user, COLUMNS.item, "noise_probability", "keep", "weight"]
    )
    by_rules = pc.and_(pc.invert(log["keep"]), pc.is_null(log["noise_probability"]))
    log = log.filter(pc.invert(by_rules)).combine_chunks()
    users, items = (log[name].combine_chunks().dictionary_encode() for name in (COLUMNS.user, COLUMNS.item))
    user = users.indices.to_numpy()
    assert (np.diff(user) >= 0).all(), "the rows of a user lie together"
    return (
        Sequences.from_lengths(items.indices.to_numpy(), np.bincount(user)),
        log["weight"].to_numpy().astype(np.float32),
        items.dictionary,
    )


def make_treatments(
    weight: npt.NDArray[np.float32], training: npt.NDArray[np.bool_], text: npt.NDArray[np.floating], seed: int
) -> list[Treatment]:
    """Returns the log as it is, as cleaning leaves it, halves of that, and controls.

    Args:
        weight: float32 [N], what `clean` gives each interaction.
        training: bool [N], false on what is held out.
        text: [N], how little the text of each item fits the rest of its sequence.
        seed: Seed of the random controls.
    """
    generator = np.random.default_rng([STREAM, seed])
    rows = np.flatnonzero(training)
    random, by_text = np.ones_like(weight), np.ones_like(weight)
    random[rows] = generator.permutation(weight[rows])
    # The interactions that fit least by their texts get the lowest weights.
    by_text[rows[np.argsort(-text[rows], kind="stable")]] = np.sort(weight[rows])
    everything = np.ones(len(weight), bool)
    return [
        Treatment("raw", everything, np.ones_like(weight)),
        Treatment("weights of clean, without what weighs 0", weight > 0, weight),
        Treatment.dropping("only without what weighs 0", weight == 0),
        Treatment("only the weights: what weighs 0 stays in histories", everything, weight),
        Treatment("control: the same weights, dealt at random", random > 0, random),
        Treatment("control: the same weights, dealt by text similarity", by_text > 0, by_text),
    ]


def make_groups(held_out: HeldOutLog) -> dict[str, npt.NDArray[np.bool_]]:
    """Returns groups of the tested users, bool [U] each: all of them, and halves.

    They are halved by how often the log has the item of the test, and by how long the user's history is.
    """
    log, tested = held_out.log, held_out.tested
    targets = log.items[log.offsets[tested + 1] - 1]
    popularity = np.bincount(log.items[held_out.training], minlength=int(log.items.max()) + 1)[targets]
    length = log.lengths[tested]
    rare, short = popularity <= np.median(popularity), length <= np.median(length)
    return {
        "all": np.ones(len(tested), bool),
        "rare targets": rare,
        "popular targets": ~rare,
        "short histories": short,
        "long histories": ~short,
    }


def format_lift(lift: Estimate) -> str:
    """Formats a lift with its interval."""
    return f"{lift.value:+.1%} [{lift.low:+.1%}, {lift.high:+.1%}]"


def measure(directory: str, options: argparse.Namespace) -> list[str]:
    """Cleans a log and trains all recommenders. Returns the rows of the table."""
    columns = replace(COLUMNS, position=options.position_column)
    name = read_dataset(directory, options.embeddings, columns).name  # makes the embeddings if they are not there
    embeddings = os.path.join(options.embeddings, name)
    log = {"interactions": os.path.join(directory, "interactions.parquet"), "position_column": options.position_column}
    with tempfile.TemporaryDirectory() as scratch:
        model, output = os.path.join(scratch, "model"), os.path.join(scratch, "cleaned")
        train(**log, embeddings=embeddings, output=model, hold_out=HELD_OUT, workers=options.workers)
        clean(**log, embeddings=embeddings, model=model, output=output, hold_out=HELD_OUT)
        sequences, weight, item_ids = read_cleaned(output)
    held_out = HeldOutLog.split(sequences)
    table = read_embeddings(embeddings)
    semantic, has_semantic = align(table, item_ids.cast(table.item_ids.type))
    text = np.zeros(len(weight))
    training = held_out.training
    text[training] = text_similarity(sequences.restrict(training), semantic, has_semantic)
    treatments = make_treatments(weight, training, text, options.seed)
    config = DownstreamConfig(recommender=options.recommender)
    seeds = [options.seed + number for number in range(options.seeds)]
    test = compare_treatments(held_out, treatments, config, seeds, workers=options.workers).test
    groups = make_groups(held_out)
    figures = test[..., METRICS.index(METRIC)].transpose(1, 2, 0)  # [seeds, U, treatments]
    by_group = [Resampled.draw(figures[:, chosen], options.seed) for chosen in groups.values()]
    rows = [
        f"\n{name}, {options.recommender}, {len(held_out.tested):,} users, {options.seeds} trainings: {METRIC}\n",
        f"| trained on | left | {METRIC} | {' | '.join(groups)} |",
        "| --- |" + " --- |" * (2 + len(groups)),
    ]
    for number, treatment in enumerate(treatments):
        left = (training & treatment.keep).sum() / training.sum()
        lifts = ["" if number == 0 else format_lift(group.lift(number, over=0)) for group in by_group]
        rows.append(f"| {treatment.name} | {left:.1%} | {by_group[0].mean(number).value:.4f} | {' | '.join(lifts)} |")
    return rows


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.where_it_helps", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("data", nargs="+", help="directories that hold interactions.parquet and items.parquet")
    add("--embeddings", required=True, help="directory that keeps the item embeddings, one directory per data set")
    add("--recommender", default="sasrec", choices=("sasrec", "gru4rec", "caser"))
    add("--seeds", type=int, default=3, help="trainings on each version of the log")
    add("--seed", type=int, default=0)
    add("--workers", type=int, default=1)
    add("--position-column")
    options = parser.parse_args()
    for directory in options.data:
        print("\n".join(measure(directory, options)), flush=True)


if __name__ == "__main__":
    main()
