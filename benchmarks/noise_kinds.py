"""Measures how well noise of the kinds that real logs have is found: each kind by itself, or mixed.

    python -m benchmarks.noise_kinds DATA... --position-column position --embeddings EMBEDDINGS

Without --alone, one log with all kinds is made, in equal parts, and each scorer is trained once. The row of a kind then
compares its interactions with the genuine ones. With --alone, each kind gets a log and a training of its own.
`realistic_noise.py` makes the noise; it shares nothing with the noise that training inserts.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from iadsr.models.detector.features import KIND_SIGNS, SIGNS
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.models.noise.share import NoiseShare
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_log import read_log
from iadsr.transforms.rules.bursts import Bursts
from iadsr.transforms.rules.machines import Machines
from iadsr.transforms.rules.rule_log import rule_whole_log
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rule_set import make_rules
from iadsr.transforms.write.users import shared_accounts

from .datasets import Dataset, read_dataset
from .measures import drop_worst, measure_dropping
from .realistic_noise import BOT, KINDS, KindsOfNoise, RealLog, add_noise, take_donors
from .scorers import OURS, SCORERS, find_share
from .tables import format_share

MIXED = tuple(kind for kind in KINDS if kind != "duplicate")
"""What the mixture holds. Duplicates and bots are found by `clean`'s rules, and bots have a row of their own."""
TEXT_CATEGORIES = 50
"""Groups of texts that stand in for categories, if the catalogue has none, or one for all items."""
PEERS = ("text", "co-occurrence-of-others")
"""Scorers that are measured beside iadsr if none are named: they take seconds."""


@dataclass(frozen=True)
class Scored:
    """What one scorer says of a log."""

    scores: np.ndarray
    """[N], high = noise."""
    drops: np.ndarray | None = None
    """bool [N], what `clean` drops by default; None for a peer."""
    share: str = ""
    """The estimated share of noise."""
    sign: np.ndarray | None = None
    """int8 [N], what names the interactions in SIGNS; None for a peer."""


def real_log(dataset: Dataset, category: np.ndarray, seed: int) -> RealLog:
    """Takes the donors out of a log."""
    assert dataset.time is not None
    donor = take_donors(dataset.sequences, seed)
    staying, rows = dataset.sequences.take(np.flatnonzero(~donor))
    donors, _ = dataset.sequences.take(np.flatnonzero(donor))
    return RealLog(staying, seconds(dataset.time)[rows], donors, dataset.semantic, category)


def seconds(time: np.ndarray) -> np.ndarray:
    """Returns epoch times in seconds, whether they are in seconds, milliseconds, microseconds or nanoseconds."""
    digits = len(str(int(np.abs(time).max())))
    return time // 10 ** (3 * max((digits - 9) // 3, 0))


def read_categories(directory: str, dataset: Dataset, columns: InteractionColumns) -> np.ndarray:
    """Returns the category of each item, int64 [V]: the catalogue's own, or groups of similar texts."""
    catalogue = pq.read_table(os.path.join(directory, "items.parquet"))
    assert dataset.item_ids is not None
    if "category" in catalogue.column_names:
        ids = catalogue[columns.item].combine_chunks().cast(pa.string())
        row = pc.index_in(dataset.item_ids.cast(pa.string()), value_set=ids)
        codes = catalogue["category"].combine_chunks().take(row).fill_null("").dictionary_encode().indices.to_numpy()
        if len(np.unique(codes)) > 1:
            return codes.astype(np.int64)
    # The nearest of some items' texts.
    chosen = np.random.default_rng(0).choice(np.flatnonzero(dataset.has_semantic), TEXT_CATEGORIES, replace=False)
    return (dataset.semantic @ dataset.semantic[chosen].T).argmax(1)


def score(name: str, dataset: Dataset, seed: int) -> Scored:
    """Trains one of SCORERS and scores the log. For iadsr, also does what `clean` does by default."""
    if name != OURS:
        return Scored(SCORERS[name].fit(dataset, seed)())
    sequences = dataset.sequences
    result = train_model(sequences, dataset.semantic, dataset.has_semantic, IADSRConfig(), TrainingConfig(seed=seed))
    scores = score_sequences(result.model, sequences, result.vectors)
    share, recalibration = find_share(result.model, sequences, scores)
    probability = scores.noise_probability
    certain = share.lower if isinstance(share, NoiseShare) else 0.0
    drops = drop_worst(probability, round(certain * int(scores.scored.sum())))
    recalibrated = recalibration.apply(probability) if recalibration else probability
    return Scored(recalibrated, drops, format_share(share), scores.sign)


def rows_of(
    title: str, kinds: tuple[str, ...], noisy: KindsOfNoise, scored: Scored, ruled: np.ndarray
) -> Iterator[str]:
    """Yields the rows of a table: one for each kind, and with several kinds one for all of them.

    Args:
        title: Of the scorer.
        kinds: Of the noise.
        noisy: The log.
        scored: What the scorer says of it.
        ruled: Users that rules find, bool [U].
    """
    genuine = noisy.measured & (noisy.kind < 0)
    wanted = [(name, noisy.measured & (noisy.kind == number)) for number, name in enumerate(kinds)]
    aurocs = [_auroc(scored.scores, noise, genuine) for name, noise in wanted if name != BOT]
    if len(kinds) > 1:
        wanted.append(("all", noisy.measured & (noisy.kind >= 0)))
    for name, noise in wanted:
        measured = genuine | noise
        label, value = noise[measured], scored.scores[measured]
        found = measure_dropping(
            label,
            np.bincount(noisy.sequences.items)[noisy.sequences.items[measured]],
            drop_worst(value, int(label.sum())),
        )
        cells = [
            f"{roc_auc_score(label, value):.3f}",
            f"{average_precision_score(label, value):.3f}",
            f"{found.recall:.3f}",
            f"{found.ratio:.1f}",
            "" if scored.drops is None else f"{scored.drops[noise].mean():.1%}",
        ]
        yield f"| {title} | {name} | {' | '.join(cells)} |"
    if len(kinds) > 1:
        yield f"| {title} | mean of kinds without bots | {np.mean(aurocs):.3f} | | | | |"
    if noisy.bots.any():
        by_user = np.bincount(noisy.sequences.users, scored.scores * noisy.measured, len(noisy.bots)) / np.maximum(
            np.bincount(noisy.sequences.users, noisy.measured, len(noisy.bots)), 1
        )
        yield f"| {title} | bots, by user | {roc_auc_score(noisy.bots, by_user):.3f} | | | | |"
        after_rules = np.where(ruled, np.inf, by_user)
        auroc = roc_auc_score(noisy.bots, rankdata(after_rules))
        yield f"| rules, then {title} | bots, by user | {auroc:.3f} | | | | |"


def found_by_rules(noisy: KindsOfNoise, folder: str) -> np.ndarray:
    """Returns the users that `clean` names or drops as machines, or for a burst of interactions, bool [U].

    Args:
        noisy: The log.
        folder: Where the log may be written, for the rules to read.
    """
    users = noisy.sequences.users
    columns = InteractionColumns(position="position")
    table = {"user_id": users, "item_id": noisy.sequences.items, "timestamp": noisy.time}
    source = LogSource(os.path.join(folder, "noisy.parquet"), columns)
    pq.write_table(pa.table({**table, "position": np.arange(len(users))}), source.path)
    whole, _, clock = read_log(source, plan_input(source))
    rules = make_rules(RuleOptions(), columns.item, pa.int64())
    ruled = rule_whole_log(whole, rules, columns, clock)
    found = np.zeros(len(noisy.bots), bool)
    for number, rule in enumerate(rules.rules):
        if isinstance(rule, (Machines, Bursts)):
            found[whole.table[columns.user].to_numpy()[ruled.found_by(number)]] = True
    return found


def default_of(noisy: KindsOfNoise, scored: Scored) -> str:
    """Says what `clean` would drop by default, and how much of it is noise."""
    assert scored.drops is not None
    noise = noisy.kind >= 0
    precise = f", {noise[scored.drops].mean():.1%} of it noise" if scored.drops.any() else ""
    return (
        f"Inserted {noise.mean():.1%}, estimated {scored.share}; the default drops {scored.drops.mean():.1%}{precise}."
    )


def reasons_of(kinds: tuple[str, ...], noisy: KindsOfNoise, scored: Scored) -> Iterator[str]:
    """Yields a table of what the reasons name in what `clean` drops by default: a row for each kind of noise."""
    assert scored.drops is not None
    assert scored.sign is not None
    yield f"| dropped | interactions | {' | '.join(KIND_SIGNS)} | none of these |"
    yield f"| --- | --- | {'--- | ' * len(KIND_SIGNS)}--- |"
    for name, number in [*zip(kinds, range(len(kinds)), strict=True), ("genuine", -1)]:
        sign = scored.sign[scored.drops & (noisy.kind == number)]
        told = [(sign == SIGNS.index(kind)).sum() / max(len(sign), 1) for kind in KIND_SIGNS]
        shares = (*told, 1 - sum(told))
        yield f"| {name} | {len(sign)} | {' | '.join(f'{share:.0%}' if len(sign) else '' for share in shares)} |"


def shared_accounts_of(kinds: tuple[str, ...], noisy: KindsOfNoise, scored: Scored) -> str:
    """Says how many users `clean` names as shared accounts, and how many of them somebody else's run was put into."""
    assert scored.drops is not None
    assert scored.sign is not None
    users, count = noisy.sequences.users, len(noisy.sequences)
    named = shared_accounts(users[scored.drops & (scored.sign == SIGNS.index("run"))], count)
    shared = np.bincount(users[noisy.kind == kinds.index("shared")], minlength=count) > 0
    right = (named & shared).sum()
    return f"Named as shared accounts: {named.sum()} users. Of these, {right} are shared; the log holds {shared.sum()}."


def _auroc(scores: np.ndarray, noise: np.ndarray, genuine: np.ndarray) -> float:
    return float(roc_auc_score(noise[noise | genuine], scores[noise | genuine]))


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.noise_kinds", description=(__doc__ or "").partition("\n")[0]
    )
    add, columns = parser.add_argument, InteractionColumns()
    add("data", nargs="+", help="directories that hold interactions.parquet and items.parquet")
    add("--embeddings", help="directory that keeps the item embeddings, one directory per data set")
    add("--kinds", nargs="+", choices=(*KINDS, BOT), default=[*MIXED, BOT])
    add("--alone", action="store_true", help="a log of its own for each kind, instead of one with all of them")
    add("--rate", type=float, help="share of noise; by default 0.15, or 0.12 for a kind alone")
    add("--scorers", nargs="+", choices=tuple(SCORERS), default=[OURS, *PEERS])
    add("--seed", type=int, default=0, help="of the noise and of the training")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--position-column")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rate = options.rate or (0.12 if options.alone else 0.15)
    groups = [(kind,) for kind in options.kinds] if options.alone else [tuple(options.kinds)]
    for directory in options.data:
        dataset = read_dataset(directory, options.embeddings, replace(columns, position=options.position_column))
        log = real_log(dataset, read_categories(directory, dataset, columns), options.seed)
        print(f"\n## {dataset.name}, {rate:.0%} noise, {'one kind at a time' if options.alone else 'mixed'}\n")
        print("| scorer | kind | AUROC | average precision | precision at the count | most/least | default finds |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        notes = []
        for kinds in groups:
            noisy = add_noise(log, kinds, rate, options.seed)
            with tempfile.TemporaryDirectory() as folder:
                ruled = found_by_rules(noisy, folder)
            seen = replace(dataset, sequences=noisy.sequences, label=None, time=None)
            for name in options.scorers:
                scored = score(name, seen, options.seed)
                for row in rows_of(SCORERS[name].title, kinds, noisy, scored, ruled):
                    print(row, flush=True)
                if scored.drops is not None:
                    notes += [
                        f"{' '.join(kinds)}: {default_of(noisy, scored)}",
                        "",
                        *reasons_of(kinds, noisy, scored),
                        "",
                    ]
                    if "shared" in kinds:
                        notes += [shared_accounts_of(kinds, noisy, scored), ""]
        print("", *notes, sep="\n", flush=True)


if __name__ == "__main__":
    main()
