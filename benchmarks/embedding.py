"""Measures `iadsr embed` against a bare loop over titles sorted by length, in titles per CPU second.

    python -m benchmarks.embedding --titles 4000

Titles are made of random words, and are as long as real ones: 2 to 20 words. Both ways load the model, read the
catalogue and write the vectors. The libraries are imported beforehand. The benchmark also prints how near the two sets
of vectors are. The loop stays on the CPU in float32. `iadsr embed` uses a GPU if there is one; CPU seconds then say
little.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from torch.nn import functional as F

from iadsr.models.encoders.load_encoder import _packaged_directory
from iadsr.models.encoders.packaged import PACKAGED_ENCODERS
from iadsr.models.encoders.text_encoder import BATCH_TOKENS
from iadsr.pipeline.commands.command_options import EmbedOptions
from iadsr.pipeline.commands.embed import run_embed

TARGET = 0.9
_SYLLABLES = ("ka", "lo", "mi", "ter", "an", "so", "ra", "del", "pu", "win", "ex", "or")


def make_titles(count: int, seed: int = 0) -> list[str]:
    """Draws distinct titles."""
    generator = np.random.default_rng(seed)
    words = ["".join(generator.choice(_SYLLABLES, 2)) for _ in range(2000)]
    return [f"{' '.join(generator.choice(words, generator.integers(1, 20)))} {n}" for n in range(count)]


def embed(items: str, output: str) -> None:
    """Runs the command's work."""
    run_embed(EmbedOptions(items=items, output=output))


def embed_in_a_loop(items: str, output: str) -> None:
    """Embeds with transformers alone: sorted by length, padded, with as many tokens per batch as `iadsr` takes."""
    directory, _ = _packaged_directory("minilm", PACKAGED_ENCODERS["minilm"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(directory, local_files_only=True).eval()
    table = pq.read_table(items)
    tokens = tokenizer(table["title"].to_pylist(), truncation=True, max_length=256)["input_ids"]
    order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
    vectors = np.zeros((len(tokens), model.config.hidden_size), np.float32)
    start = 0
    with torch.inference_mode():
        while start < len(order):
            rows = order[start : start + max(1, BATCH_TOKENS["cpu"] // len(tokens[order[start]]))]
            batch = tokenizer.pad({"input_ids": [tokens[row] for row in rows]}, return_tensors="pt")
            mask = batch["attention_mask"][:, :, None]
            states = model(**batch).last_hidden_state
            vectors[rows] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()
            start += len(rows)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    os.makedirs(output)
    pq.write_table(pa.table({"item_id": table["item_id"], "embedding": lists}), os.path.join(output, "0.parquet"))


def read_vectors(directory: str) -> np.ndarray:
    """Reads the vectors that one of the ways wrote, [n, D], in the order of the catalogue."""
    table = pq.read_table(directory, partitioning=None).sort_by("item_id")
    return np.stack(table["embedding"].to_numpy())


def describe_device() -> str:
    """Names what `iadsr embed` runs on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"


def measure(way: Callable[[str, str], None], items: str, output: str) -> float:
    """Returns the CPU seconds that one way takes."""
    started = time.process_time()
    way(items, output)
    return time.process_time() - started


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embedding", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--titles", type=int, default=4000)
    parser.add_argument(
        "--repeat", type=int, default=2, help="how often to measure each way, in turn; the shortest time counts"
    )
    options = parser.parse_args()
    ways = {"iadsr embed": embed, "a bare loop over transformers": embed_in_a_loop}
    with tempfile.TemporaryDirectory() as work:
        items = os.path.join(work, "items.parquet")
        titles = make_titles(options.titles)
        pq.write_table(pa.table({"item_id": range(len(titles)), "title": titles}), items)
        turns = [
            {name: measure(way, items, os.path.join(work, f"{name}-{turn}")) for name, way in ways.items()}
            for turn in range(options.repeat)
        ]
        written = [read_vectors(os.path.join(work, f"iadsr embed-{turn}")) for turn in range(options.repeat)]
        expected = read_vectors(os.path.join(work, "a bare loop over transformers-0"))
    seconds = {name: min(turn[name] for turn in turns) for name in ways}
    print("| what | titles per CPU second |\n| --- | --- |")
    for name, took in seconds.items():
        print(f"| {name} | {options.titles / took:,.0f} |")
    ours, bare = seconds.values()
    print(f"\nSpeed ratio {bare / ours:.2f}, target {TARGET:g}.")
    cosines = (written[0] * expected).sum(1)
    same = "the same" if all((again == written[0]).all() for again in written[1:]) else "not the same"
    print(f"On {describe_device()} the vectors have a cosine of at least {cosines.min():.6f} to the loop's.", end=" ")
    print(f"They are {same} each time.")


if __name__ == "__main__":
    main()
