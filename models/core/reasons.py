"""Why an interaction was dropped or kept, and why a row was rejected: the one list of reasons.

To add a rule, add a record to `REASONS`, and give its code to the interactions that the rule concerns. The counts, the
manifest, `iadsr verify`, the report and the messages follow from the record. Codes stand in the output files, so the
code of a reason never changes.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["dropped", "kept", "rejected"]


@dataclass(frozen=True)
class Reason:
    """One reason, and all that is said about it anywhere."""

    code: str
    """The text in the output. The code of a rejected row has `{column}` in place of the column's name."""
    kind: Kind
    """What happened: an interaction was dropped or kept, or a row was rejected as unusable."""
    meaning: str
    """What the report says the reason means."""
    badge: str = ""
    """What the report shows beside an interaction. Empty if the reason is for rejected rows."""
    message: str = ""
    """What `iadsr clean` prints before the number of interactions. Empty if it prints nothing."""
    protects: bool = False
    """Whether the interaction was judged noise, and is kept because an option asks for it."""
    requested: bool = False
    """Whether a row is rejected because an option asks for it."""
    judged: bool = True
    """Whether the interaction has a noise probability."""
    rule: str = ""
    """What the rule of this name is about, in the plural, for lists of what was found. Empty if the model decides."""


def _rule(code: str, found: str, meaning: str) -> Reason:
    return Reason(code, "dropped", meaning, badge=f"dropped: {code}", judged=False, rule=found)


REASONS = (
    _rule("nobody", "interactions of nobody", "The user id stands for no person."),
    _rule("non_item", "interactions with what is no item", "The item is named as none, or is not in the catalogue."),
    _rule("duplicate", "duplicates", "The same event again: same user, item and time, or the same event id."),
    _rule("repeat", "repeats", "The same user and item again, within --repeat-seconds or in a row."),
    _rule("returned", "returned interactions", "A later event takes the interaction back, or this is that event."),
    _rule(
        "value", "interactions outside the bounds of the value", "The value is below --min-value or above --max-value."
    ),
    _rule("burst", "interactions in bursts", "The user has at least --burst-size interactions at this instant."),
    _rule("machine", "interactions of machines", "The user has a pace or a regularity that no person has."),
    _rule(
        "window",
        "interactions outside the window",
        "The interaction is too early, too late, or one too many of its user.",
    ),
    _rule(
        "shared_list",
        "interactions of users who share a list",
        "Several users went quickly through the same long list.",
    ),
    _rule(
        "core", "interactions outside the core", "The user or the item has too few interactions among those that stay."
    ),
    Reason(
        "noise:long_term_semantic",
        "dropped",
        "What the user did around this point agrees least, by text, with the rest of the sequence: cos(S, c\u209c).",
        badge="dropped: long_term_semantic",
    ),
    Reason(
        "noise:long_term_collaborative",
        "dropped",
        "The item's text agrees least with what the rest of the sequence shows by behaviour: cos(C, s\u209c).",
        badge="dropped: long_term_collaborative",
    ),
    Reason(
        "noise:short_term",
        "dropped",
        "The item's text agrees least with what the user did around this point: cos(c\u209c, s\u209c).",
        badge="dropped: short_term",
    ),
    Reason(
        "noise:run",
        "dropped",
        "It stands among interactions that go together, and not with the rest: as if somebody else used the account.",
        badge="dropped: run",
    ),
    Reason(
        "noise:text",
        "dropped",
        "Its text is like that of an interaction beside it, and nothing else goes together: as if clicked by mistake.",
        badge="dropped: text",
    ),
    Reason(
        "noise:block",
        "dropped",
        "It stands among interactions that go together with nothing, not even with each other: as if imported.",
        badge="dropped: block",
    ),
    Reason(
        "noise:collaborative_only",
        "dropped",
        "The item has no text: judged noise from behaviour alone, without a second opinion.",
        badge="dropped: collaborative_only",
    ),
    Reason(
        "min_length",
        "kept",
        "Judged noise, but dropping it would leave the user with fewer interactions than --min-length.",
        badge="protected by --min-length",
        message="Protected by --min-length",
        protects=True,
    ),
    Reason(
        "keep_last",
        "kept",
        "Judged noise, but among the user's last interactions that --keep-last protects.",
        badge="protected by --keep-last",
        message="Protected by --keep-last",
        protects=True,
    ),
    Reason(
        "held_out",
        "kept",
        "Not judged: --hold-out sets the user's last interactions aside to test recommenders.",
        badge="held out",
        message="Held out to test recommenders",
        judged=False,
    ),
    Reason(
        "unknown_item",
        "kept",
        "Not judged: neither the model nor the item embeddings know the item.",
        badge="not judged: unknown item",
        message="Kept without a judgement, unknown to the embeddings and the model",
        judged=False,
    ),
    Reason(
        "too_short",
        "kept",
        "Not judged: the user's sequence holds nothing else to compare it with.",
        badge="not judged: nothing to compare",
        judged=False,
    ),
    Reason(
        "collaborative_only",
        "kept",
        "Judged genuine from behaviour alone: the item has no text.",
        badge="kept: judged without text",
    ),
    Reason(
        "weightless",
        "kept",
        "Perhaps noise, and not surely: a recommender learns better without it, so it weighs 0.",
        badge="kept, weighs 0",
        message="Kept, but better left out of training (weight 0)",
    ),
    Reason("null {column}", "rejected", "The column holds no value."),
    Reason("empty {column}", "rejected", "The column holds an empty text."),
    Reason("{column} beyond int64", "rejected", "The id is larger than the integers that embeddings can hold."),
    Reason(
        "{column} not an exact whole number",
        "rejected",
        "The id is a number with a fraction, or too large to be exact.",
    ),
    Reason("{column} not UTF-8", "rejected", "The id or behaviour is bytes that are no text in UTF-8."),
    Reason(
        "nobody {column}",
        "rejected",
        "The id stands for no one, and --reject-users nobody asks for this.",
        requested=True,
    ),
    Reason("excluded {column}", "rejected", "The id is among those that --reject-users names.", requested=True),
    Reason(
        "forgotten {column}",
        "rejected",
        "The user is to be forgotten, as --forget says. No value of the row is shown.",
        requested=True,
    ),
    Reason("unparsable {column}", "rejected", "The value cannot be read as a time."),
    Reason("unreadable", "rejected", "The part of the file that holds the row is damaged."),
)
"""All reasons. Within a kind, the manifest and the messages list them in this order."""

REASON_BY_CODE = {reason.code: reason for reason in REASONS}


def reason_codes(kind: Kind) -> tuple[str, ...]:
    """Returns the codes of all reasons of a kind."""
    return tuple(reason.code for reason in REASONS if reason.kind == kind)


def rejection_code(code: str, column: str = "") -> str:
    """Returns the text in the output for a rejected row.

    Args:
        code: Code of a reason for rejected rows, such as `null {column}`.
        column: The column that the row is rejected for.
    """
    return REASON_BY_CODE[code].code.replace("{column}", column)


def is_requested(text: str) -> bool:
    """Whether a row that was rejected with this text was rejected because an option asks for it."""
    return any(reason.requested and text.startswith(reason.code.split("{")[0]) for reason in REASONS)
