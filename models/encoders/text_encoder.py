"""Turns texts into vectors with a frozen language model.

`TextEncoder` holds a model with its tokenizer. Texts go in, and one L2-normalised vector per text comes out. Use
`load_encoder` to make one.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..core.errors import InputError
from .coverage import Coverage, measure_coverage

BATCH_TOKENS = {"cpu": 2_048, "cuda": 65_536}
"""Maximum number of tokens in a batch, by device. Larger batches are no faster on a CPU, but a GPU needs them."""

_TEXTS_PER_TOKENIZATION = 8_192
"""Number of texts that are tokenized in one call."""

ProgressCallback = Callable[[int, int], None]
"""Called with the number of texts that are done, and the number of all."""


class TextEncoder:
    """A frozen language model with its tokenizer.

    Attributes:
        name: Its name in metadata: the name given to `--encoder`, or the last part of a local directory's path.
        revision: Version of the package, commit of the hub model, or content hash of the local directory.
        pooling: How the last hidden state becomes one vector: "mean" over all tokens, "last" token, or "cls" (first)
            token.
        dimension: D, the length of a vector.
        device: Where the model runs: "cuda" (in half precision) or "cpu" (in float32).
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        name: str,
        revision: str,
        pooling: str,
        max_tokens: int,
        device: str,
        prefix: str = "",
    ):
        self.name, self.revision, self.pooling, self.device = name, revision, pooling, device
        self._model, self._tokenizer, self._max_tokens = model, tokenizer, max_tokens
        self._prefix = prefix
        self.dimension = self._embed(np.array([self._tokenize(["text"])[0]])).shape[1]

    def encode(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> np.ndarray:
        """Embeds texts. Equal texts are embedded only once.

        All texts in a batch have the same number of tokens, so there is no padding and no mask. A vector therefore does
        not depend on the other texts in its batch, except in its last bits, since the rounding of a matrix product
        depends on its shape. The same list of texts gives the same bytes on the same machine.

        Args:
            texts: n texts. They are cut at the model's maximum number of tokens.
            progress: Called with the number of distinct texts that are done, and the number of all distinct texts.

        Returns:
            float32 [n, D], vectors of unit length in the order of `texts`. The vector of a text without tokens is zero.

        Raises:
            InputError: The model gave a vector with NaN or infinity.
        """
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = np.zeros((len(rows), self.dimension), np.float32)  # [distinct texts, D]
        tokens = self._tokenize(list(rows))
        batches = list(_batch_by_length([len(ids) for ids in tokens], BATCH_TOKENS[self.device]))
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

    def coverage(self, texts: Sequence[str]) -> Coverage:
        """Measures how well the encoder knows the language of some different texts."""
        tokens = self._tokenize(list(texts), framed=False)
        return measure_coverage(texts, tokens, self._tokenizer.unk_token_id)

    def _tokenize(self, texts: list[str], *, framed: bool = True) -> list[list[int]]:
        """Returns the tokens of each text, with those that the model wants before and after every text if `framed`."""
        if framed and self._prefix:
            texts = [self._prefix + text for text in texts]
        tokens: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_PER_TOKENIZATION):
            encoded = self._tokenizer(
                texts[start : start + _TEXTS_PER_TOKENIZATION],
                truncation=True,
                max_length=self._max_tokens,
                add_special_tokens=framed,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            tokens.extend(encoded["input_ids"])
        return tokens

    def _embed_all(self, arrays: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
        """Embeds the batches, in order. On a CPU, each thread takes whole batches.

        The usual way, several threads for each operation, makes threads wait for each other at every layer. On a
        machine that does other work too, this is far slower.
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
        """Embeds token ids, int64 [B, L] without padding. Returns float32 [B, D]."""
        with torch.inference_mode():
            ids = torch.from_numpy(tokens).to(self.device)
            output = self._model(input_ids=ids, attention_mask=torch.ones_like(ids))
            states = output.last_hidden_state.float()  # [B, L, D]
            if self.pooling == "mean":
                pooled = states.mean(dim=1)
            else:
                pooled = states[:, -1] if self.pooling == "last" else states[:, 0]
            return F.normalize(pooled, dim=-1).cpu().numpy()  # [B, D]


def _batch_by_length(lengths: list[int], budget: int) -> Iterator[np.ndarray]:
    """Yields batches of rows whose texts have the same number of tokens, the longest texts first.

    Args:
        lengths: Number of tokens of each row. Rows without tokens are in no batch.
        budget: Maximum number of tokens in a batch. A batch holds at least one row, even if that row is longer.
    """
    counts = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-counts, kind="stable")  # [n]
    order = order[counts[order] > 0]
    starts = np.flatnonzero(np.diff(counts[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        size = max(1, budget // int(counts[rows[0]]))
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
