"""Makes plain text of what catalogues hold: HTML, entities, control characters and white space of every kind.

An encoder would read `<br>` as a word. Text that only looks like HTML, such as `a < b`, `<3` and `C&A`, stays.
"""

import html
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def _names(elements: str) -> str:
    return elements.replace(" ", "|")


# Elements that do not separate words: H<sub>2</sub>O is one word.
_INLINE = (
    "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike strong sub sup"
)
_INLINE += " tt u var wbr"
_OTHERS = "address area article aside audio base blockquote body br button canvas caption center col colgroup data dd"
_OTHERS += " details dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6"
_OTHERS += (
    " head header hr html iframe img input label legend li link main map menu meta nav noscript object ol optgroup"
)
_OTHERS += " option p param picture pre script section select source style summary svg table tbody td template textarea"
_OTHERS += " tfoot th thead time title tr track ul video"

# Only names of HTML: in <Untitled> and Map<String> the brackets belong to the text. Only attributes with a value: they
# do in a<b and c>d. A value may hold a ">" in quotes.
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_ATTRIBUTES = rf"(?:\s+(?:[\w:.@-]+\s*=\s*{_VALUE}|checked|controls|disabled|hidden|noshade|nowrap|selected))*"
_HIDDEN = re.compile(r"<!--.*?-->|<!doctype[^>]*>|<\?xml[^>]*>|<(script|style)\b[^>]*>.*?</\1\s*>", re.I | re.S)
_INLINE_TAG = re.compile(rf"</?(?:{_names(_INLINE)}){_ATTRIBUTES}\s*/?>", re.I)
_OTHER_TAG = re.compile(rf"</?(?:{_names(_OTHERS)}|\w+:\w+){_ATTRIBUTES}\s*/?>", re.I)
# Descriptions are often cut at some length, even within a tag.
_CUT_TAG = re.compile(rf"<(?:{_names(_INLINE)}|{_names(_OTHERS)})\s+[\w-]+\s*=[^<>]*$", re.I)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.S)
# With the semicolon only: "&notes" is no "¬es".
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

_MAYBE_HTML = r"<[A-Za-z/!?]|&[#A-Za-z][A-Za-z0-9]*;"
_SPACES = r"[\s\x00-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+"
_INVISIBLE = r"[\x{ad}\x{200b}\x{2060}\x{feff}]"

MAX_ROUNDS = 3
"""How often a text is unescaped at most. Exports escape what was escaped before: `&amp;lt;b&amp;gt;`."""


def plain_texts(texts: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Returns texts without HTML, with single spaces, and null if nothing is left.

    Args:
        texts: Array of large_string [n].

    Returns:
        large_string [n], and which texts held HTML tags or entities, bool [n].
    """
    suspects = np.flatnonzero(pc.match_substring_regex(texts, _MAYBE_HTML).fill_null(False).to_numpy(False))
    had_html = np.zeros(len(texts), bool)
    if len(suspects):
        before = texts.take(pa.array(suspects)).to_pylist()
        after = [without_html(text) for text in before]
        had_html[suspects] = [old != new for old, new in zip(before, after, strict=True)]
        mask = np.zeros(len(texts), bool)
        mask[suspects] = True
        texts = pc.replace_with_mask(texts, pa.array(mask), pa.array(after, pa.large_string()))
    visible = pc.replace_substring_regex(texts, _INVISIBLE, "")
    single = pc.utf8_trim_whitespace(pc.replace_substring_regex(visible, _SPACES, " "))
    return pc.if_else(pc.equal(single, ""), pa.scalar(None, pa.large_string()), single), had_html


def without_html(text: str) -> str:
    """Returns a text without HTML tags, comments, scripts and entities."""
    for _ in range(MAX_ROUNDS):
        before = text
        if "<" in text:
            text = _HIDDEN.sub(" ", _CDATA.sub(r"\1", text))
            text = _CUT_TAG.sub(" ", _OTHER_TAG.sub(" ", _INLINE_TAG.sub("", text)))
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        if text == before:
            break
    return text
