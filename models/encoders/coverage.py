"""Measures whether an encoder knows the language of texts, by the tokens that it makes of them.

An encoder gives a vector to anything. In a language that it does not know, many texts get the same one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MAX_UNKNOWN, MAX_SHARED, MAX_SPELLED = 0.05, 0.01, 0.2
"""Shares of a `Coverage` above which vectors mean little. Texts in English with names and symbols stay far below."""

_LATIN_END = "\u0250"
_IDEOGRAPHIC = "\u2e80"


@dataclass(frozen=True)
class Coverage:
    """How well an encoder knows some texts. All are shares, in [0, 1]."""

    unknown_tokens: float
    """Of all tokens, those that the encoder has no entry for."""
    shared_vectors: float
    """Of all texts, those that have the same tokens as another text, some of them unknown, and so the same vector."""
    spelled_texts: float
    """Of all texts, those in another script than the Latin one that are read letter by letter, or in bytes."""

    @property
    def is_poor(self) -> bool:
        """Whether vectors of these texts mean little."""
        return self.unknown_tokens > MAX_UNKNOWN or self.shared_vectors > MAX_SHARED or self.spelled_texts > MAX_SPELLED


def measure_coverage(texts: Sequence[str], tokens: Sequence[Sequence[int]], unknown: int | None) -> Coverage:
    """Measures how well an encoder knows texts.

    Args:
        texts: n different texts.
        tokens: The tokens of each text, without those that every text has.
        unknown: The token that stands for what the encoder has no entry for. None if there is no such token.
    """
    rows = [tuple(row) for row in tokens]
    same = Counter(rows)
    total = max(sum(len(row) for row in rows), 1)
    count = max(len(rows), 1)
    return Coverage(
        unknown_tokens=sum(row.count(unknown) for row in rows) / total,
        shared_vectors=sum(same[row] > 1 and unknown in row for row in rows) / count,
        spelled_texts=sum(_is_spelled(text, len(row)) for text, row in zip(texts, rows, strict=True)) / count,
    )


def _is_spelled(text: str, tokens: int) -> bool:
    """Whether a text that is not in Latin script has a token for nearly every letter. An ideograph counts as three."""
    letters = [letter for letter in text if letter.isalpha()]
    others = [letter for letter in text if letter >= _LATIN_END]
    if len(others) <= len(letters) / 2:
        return False
    weight = sum(3 if letter >= _IDEOGRAPHIC else 1 for letter in text if not letter.isspace())
    return weight < 1.5 * tokens
