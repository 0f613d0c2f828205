"""Formats of times that are texts: ISO 8601 in its usual variants, and formats that the user names.

You need this to find what is in which place of a text. Patterns are matched with the form of a text: the text with 0 in
place of each digit. The command line imports this, so it imports nothing heavy.
"""

import re
from collections.abc import Iterable
from functools import cache
from zoneinfo import ZoneInfo

from ...models.core.errors import UsageError

_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = {text: number for number, name in enumerate(_MONTH_NAMES, 1) for text in (name, name[:3])}
"""Number of each month by its name and its short name, in lower case."""


def _any_of(names: Iterable[str]) -> str:
    return "|".join(sorted((re.escape(name) for name in names), key=len, reverse=True))


_DAYS = rf"({_any_of([*_DAY_NAMES, *(name[:3] for name in _DAY_NAMES)])})"


_ZONE = r"(?P<zone>\ ?(?P<utc>Z|UTC|GMT)|\ ?(?P<offset>(?P<sign>[+-])(?P<zh>00)(:?(?P<zm>00)(:?(?P<zs>00))?)?))"
_FRACTION = r"([.,](?P<f>0+))"
_BASIC_CLOCK = r"[T\ ]?(?P<H>00)(?P<M>00)((?P<S>00)([.,](?P<f>0+)|(?P<f1>000))?)?"
_CLOCK = rf"(?P<H>00?):(?P<M>00)(:(?P<S>00){_FRACTION}?)?"
_REST = rf"{_ZONE}?(\[[^\]]+\])?"
LAYOUTS = (
    # 2024-06-10, 2024/6/1, with or without a time
    rf"(?P<Y>0000)(?P<by>[-/.])(?P<m>00?)(?P=by)(?P<d>00?)([T\ _]+{_CLOCK}|[T\ ](?P<H1>00))?{_REST}",
    # 20240610, 20240610T080000, 202406100800, 20240610080000.123
    rf"(?P<Y>0000)(?P<m>00)(?P<d>00)({_BASIC_CLOCK})?{_REST}",
    # 20240610 08:00:00
    rf"(?P<Y>0000)(?P<m>00)(?P<d>00)[T\ ]{_CLOCK}{_REST}",
)
"""Patterns of the texts that are times without a format being named."""

NUMBER = r"(?P<whole>0{9,19})(\.(?P<part>0*))?"
"""Pattern of numbers that may be times."""

_DIRECTIVES = {
    "Y": r"(?P<Y>0000)",
    "y": r"(?P<y>00)",
    "m": r"(?P<m>00?)",
    "d": r"(?P<d>\ ?0|00)",
    "e": r"(?P<d>\ ?0|00)",
    "H": r"(?P<H>00?)",
    "I": r"(?P<I>00?)",
    "M": r"(?P<M>00?)",
    "S": r"(?P<S>00?)",
    "f": r"(?P<f>0+)",
    "j": r"(?P<j>000)",
    "b": rf"(?P<b>{_any_of(MONTHS)})",
    "B": rf"(?P<b>{_any_of(MONTHS)})",
    "h": rf"(?P<b>{_any_of(MONTHS)})",
    "a": _DAYS,
    "A": _DAYS,
    "p": r"(?P<p>am|pm|a\.m\.|p\.m\.)",
    "z": _ZONE,
    "Z": _ZONE,
    "%": "%",
}
_COMPOSED = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y"}


def check_format(form: str) -> None:
    """Checks a format that the user names.

    Raises:
        UsageError: It has a directive that is not known, or gives no day.
    """
    format_pattern(form)


@cache
def format_pattern(form: str) -> re.Pattern:
    """Returns the pattern of a format's texts; the names of its groups are those of the directives.

    Raises:
        UsageError: The format has a directive that is not known, or gives no day.
    """
    for name, composed in _COMPOSED.items():
        form = form.replace(f"%{name}", composed)
    parts = re.split(r"%(.)", form)
    unknown = [name for name in parts[1::2] if name not in _DIRECTIVES] + [""] * ("%" in parts[-1])
    named = set(parts[1::2])
    day = {"Y", "y"} & named and ("j" in named or ({"m", "b", "B", "h"} & named and {"d", "e"} & named))
    if unknown or not day:
        raise UsageError(
            "--timestamp-format is no format of a time",
            code="OPTION-FORMAT",
            found=f"unknown: {', '.join('%' + name for name in unknown)}" if unknown else f"{form!r}, which has no day",
            expected="a year, a month and a day at least, by " + ", ".join(f"%{name}" for name in _DIRECTIVES),
            fix="write it as for Python's strptime, such as '%d/%m/%Y %H:%M:%S'",
        )
    texts = [re.sub(r"(\\ )+", r"\\ +", re.escape(re.sub(r"\d", "0", text))) for text in parts[::2]]
    pattern = texts[0] + "".join(_DIRECTIVES[name] + text for name, text in zip(parts[1::2], texts[1:], strict=True))
    seen: set[str] = set()

    def once(match: re.Match) -> str:
        again = match[1] in seen
        seen.add(match[1])
        return "(" if again else match[0]

    return re.compile(re.sub(r"\(\?P<(\w+)>", once, pattern), re.IGNORECASE | re.ASCII)


def check_timezone(name: str) -> None:
    """Checks the name of a time zone.

    Raises:
        UsageError: It is none that is known here.
    """
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"--timezone {name!r} is no time zone",
            code="OPTION-TIMEZONE",
            expected="a name of the IANA database, such as Europe/Paris or UTC",
            fix="correct --timezone",
        ) from error
