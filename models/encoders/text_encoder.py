"""A frozen language model with its tokenizer: texts in, one L2-normalised vector per text out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..core.errors import InputError

BATCH_TOKENS = {"cpu": 2_048, "cuda": 65_536}
"""Tokens per batch: on a CPU more is not faster, on a GPU less leaves it idle."""


_TOKENIZE_TEXTS = 8_192


Progress = Callable[[int, int], None]


class TextEncoder:
    """A frozen language model with its tokenizer.

    Attributes:
        name: What to call it in metadata: the `--encoder` name, or a local directory's last part.
        revision: Version of the package, commit of a hub model, or content hash of a local directory.
        pooling: "mean" over all tokens, "last" token or "cls" (first) token, of the last hidden state.
        dimension: Length of a vector, D.
        device: Where it runs: "cuda" (half precision) or "cpu" (float32).
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, *, name: str, revision: str, pooling: str, max_tokens: int, device: str
    ):
        self.name, self.revision, self.pooling, self.device = name, revision, pooling, device
        self._model, self._tokenizer, self._max_tokens = model, tokenizer, max_tokens
        self.dimension = self._embed(np.array([self._tokenize(["text"])[0]])).shape[1]

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Embeds texts; equal texts are embedded once.

        A batch holds texts of one token count, so that nothing is padded or masked and a vector does not depend on what
        else is in its batch, except in the last bits (about 1e-7 on a CPU, 1e-2 in half precision): matrix products
        round by shape. The same texts give the same bytes on the same machine.

        Args:
            texts: n texts; what exceeds the model's limit is cut off.
            progress: Called with the number of distinct texts done and their total.

        Returns:
            float32 [n, D] of unit length, in the order of `texts`; zeros for a text without any token.
        """
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = np.zeros((len(rows), self.dimension), np.float32)  # [distinct texts, D]
        tokens = self._tokenize(list(rows))
        batches = list(_batches([len(ids) for ids in tokens], BATCH_TOKENS[self.device]))
        done = len(rows) - sum(len(batch) for batch in batches)
        arrays = (np.array([tokens[row] for row in batch]) for batch in batches)
        for batch, result in zip(batches, self._embed_all(arrays, len(batches)), strict=True):
            vectors[batch] = result
            done += len(batch)
            if progress is not None:
                progress(done, len(rows))
        if not np.isfinite(vectors).all():
            row = int((~np.isfinite(vectors).all(axis=1)).argmax())
            raise InputError(
                f"The encoder {self.name} gave a vector that is not finite",
                code="ENCODER-NAN",
                found=f"NaN or infinity for the text {list(rows)[row][:80]!r}",
                fix="use another --encoder",
            )
        return vectors[[rows[text] for text in texts]]

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        tokens: list[list[int]] = []
        for start in range(0, len(texts), _TOKENIZE_TEXTS):
            encoded = self._tokenizer(
                texts[start : start + _TOKENIZE_TEXTS],
                truncation=True,
                max_length=self._max_tokens,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            tokens.extend(encoded["input_ids"])
        return tokens

    def _embed_all(self, arrays: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
        """Runs the batches, in order. On a CPU each core takes whole batches.

        Threads inside one operation wait for each other at every layer, which on a machine that does other work as well
        is several times slower than one thread.
        """
        threads = torch.get_num_threads()
        if self.device != "cpu" or threads == 1 or count == 1:
            yield from map(self._embed, arrays)
            return
        torch.set_num_threads(1)
        pool = ThreadPoolExecutor(threads)
        try:
            yield from pool.map(self._embed, arrays)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def _embed(self, tokens: np.ndarray) -> np.ndarray:
        """Embeds token ids int64 [B, L] without padding into float32 [B, D]."""
        with torch.inference_mode():
            ids = torch.from_numpy(tokens).to(self.device)
            output = self._model(input_ids=ids, attention_mask=torch.ones_like(ids))
            states = output.last_hidden_state.float()  # [B, L, D]
            if self.pooling == "mean":
                pooled = states.mean(dim=1)
            else:
                pooled = states[:, -1] if self.pooling == "last" else states[:, 0]
            return F.normalize(pooled, dim=-1).cpu().numpy()  # [B, D]


def _batches(lengths: list[int], budget: int) -> Iterator[np.ndarray]:
    """Yields rows of one length, longest first, at most `budget` tokens at once; rows of length 0 are in no batch."""
    counts = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-counts, kind="stable")  # [n]
    order = order[counts[order] > 0]
    starts = np.flatnonzero(np.diff(counts[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        size = max(1, budget // int(counts[rows[0]]))
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
