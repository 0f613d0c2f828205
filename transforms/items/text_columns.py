"""Decides which columns of a catalogue hold text, by their values.

A column of strings may hold addresses of images, JSON, codes or dates. An encoder makes vectors of those too, and they
are noise.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PREFERRED_COLUMNS = ("title", "category")
"""Columns that are used by default if the catalogue has any of them, in whatever case they are written."""

MIN_SHARE = 0.9
"""Share of a column's values that are of a kind, from which on the column is of that kind."""

_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//\S+"  # https://..., s3://..., //cdn...
    r"|www\.\S+"
    r"|data:[\w/+.-]+[;,]\S*"
    r"|[^\s@]+@[\w-]+\.[\w.-]+"
    r"|/\S*/\S*"
    r"|\S+\.(?:avif|bmp|gif|html?|jpe?g|mp[34]|pdf|php|png|svg|tiff?|webm|webp)(?:[?#]\S*)?",
    re.I,
)
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{2}|\d{4})(?: .*)?"
    r"|(?:19|20)\d{2}[01]\d[0-3]\d"
    r"|\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
)
_NUMBER = re.compile(
    r"[-+]?\s*[$€£¥]?\s*[-+]?(?:\d[\d.,' \u00a0]*|\.\d+)(?:e[-+]?\d+)?\s*(?:%|[$€£¥]|[a-z]{1,3})?", re.I
)
_FLAG = re.compile(r"true|false|yes|no|[ynt01f]|null|none|nan|n/a", re.I)
_HASH = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=.*\d)[0-9a-f]{16,}", re.I)
_BASE64 = re.compile(r"(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9+/=])[A-Za-z0-9+/_-]{22,}={0,2}")
_ID = re.compile(r"(?=.*\d)[!-~]+")


def _is_json(value: str) -> bool:
    if not (value[:1] in "[{" and value[-1:] in "]}"):
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        # Python's way to write dictionaries, and JSON that was cut or escaped.
        return bool(re.match(r"""[\[{]+\s*(?:['"]|\\")""", value))
    return True


def _is_binary(value: str) -> bool:
    odd = sum((character < " " and character not in "\t\n\r\f\v") or character == "\ufffd" for character in value)
    return odd > len(value) * 0.3


_KINDS: dict[str, Callable[[str], object]] = {
    "binary data": _is_binary,
    "JSON": _is_json,
    "addresses": _ADDRESS.fullmatch,
    "dates": _DATE.fullmatch,
    "yes or no": _FLAG.fullmatch,
    "numbers": _NUMBER.fullmatch,
    "codes": lambda value: _HASH.fullmatch(value) or _BASE64.fullmatch(value),
}
"""What values other than text can be, in the order of the checks."""


@dataclass(frozen=True)
class TextColumns:
    """Which columns of a catalogue are embedded, and which not."""

    chosen: tuple[str, ...]
    """The columns whose text is embedded, in order."""
    not_text: dict[str, str]
    """Columns of strings that hold no text, and what they hold instead."""
    others: tuple[str, ...]
    """Columns of text that are not embedded, because there are preferred ones."""


def choose_text_columns(samples: dict[str, list[str]]) -> TextColumns:
    """Chooses the columns to embed: the preferred ones if they hold text, otherwise all that hold text.

    Args:
        samples: Some values of each column that may hold text, in the order of the columns.
    """
    order = {name: place for place, name in enumerate(PREFERRED_COLUMNS)}
    kinds = {name: kind_of(values, named_text=name.casefold() in order) for name, values in samples.items()}
    texts = [name for name, kind in kinds.items() if kind is None]
    preferred = [name for name in texts if name.casefold() in order]
    chosen = sorted(preferred, key=lambda name: order[name.casefold()]) or texts
    return TextColumns(
        tuple(chosen),
        {name: kind for name, kind in kinds.items() if kind is not None},
        tuple(name for name in texts if name not in chosen),
    )


def kind_of(values: Sequence[str], *, named_text: bool = False) -> str | None:
    """Says what values are if they are not text; None if they are.

    Args:
        values: Some values of a column.
        named_text: The column is named as one of text. Its values may then look like ids: there are such titles.
    """
    values = [stripped for value in values if (stripped := value.strip())]
    if not values:
        return "nothing"
    kinds = Counter(next((kind for kind, fits in _KINDS.items() if fits(value)), None) for value in values)
    text = kinds.pop(None, 0)
    if text <= len(values) * (1 - MIN_SHARE):
        return kinds.most_common(1)[0][0]
    distinct = set(values)
    ids = sum(bool(_ID.fullmatch(value)) for value in distinct)
    if not named_text and len(distinct) >= len(values) * MIN_SHARE and ids >= len(distinct) * MIN_SHARE:
        return "ids"
    return None
