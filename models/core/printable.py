"""Makes any text safe to print.

Use it whenever text from the data is shown: ids, column names, file names, messages of other libraries. Such text can
hold control characters that move the cursor, colour the screen, or show a name in reverse. These are escaped here.
"""

import re

# Control characters (the first two ranges), marks that reorder or hide text, and lone surrogates, which no terminal can
# encode. Line feeds are included: in an id, one would start a new line of output.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def printable(text: object, *, max_length: int | None = None) -> str:
    r"""Returns the text on one line with unsafe characters escaped: a line feed becomes `\n`, an escape `\x1b`.

    Safe text is returned unchanged, so escaping twice does nothing.

    Args:
        text: A string, or any object, whose `str` is then used.
        max_length: Characters to keep. If the text is longer, its length is given instead of the rest.
    """
    text = str(text)
    if max_length is not None and len(text) > max_length:
        text = f"{text[:max_length]}... ({len(text):,} characters)"
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)
