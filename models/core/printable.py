"""Text that is safe to show: what comes from data cannot move the cursor, colour the screen or turn the line round."""

import re

# Control characters (the first two ranges), marks that reorder or hide text, and lone surrogates, which no terminal's
# encoding holds. A line feed is one of them: in an id it would begin a line of its own.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def printable(text: object, *, longest: int | None = None) -> str:
    r"""Returns text on one line, unsafe characters spelled out: a line feed becomes `\n`, an escape `\x1b`.

    Text that is safe already is returned as it is, so that escaping twice does nothing.

    Args:
        text: A string, or anything whose `str` is one.
        longest: Characters to keep of it; the rest is counted.
    """
    text = str(text)
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}... ({len(text):,} characters)"
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)
