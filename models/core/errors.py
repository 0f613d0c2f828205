"""The errors a user can meet, written for the user. Each has a stable code, listed in docs/errors.md."""

from .printable import printable

PREFIX = "IADSR-"
"""Stands before every code that is shown, so that it can be searched for."""


MAX_PART_LENGTH = 2000
"""Characters of one part of an error that are shown: a column's name can be a megabyte."""


class IadsrError(Exception):
    """An error whose text is meant for the user: shown without a stack trace.

    Attributes:
        what: One sentence on what went wrong, naming the file and the column where there is one.
        code: Short and stable, unique to the place that raises it, such as LOG-TYPE.
        found: What was seen.
        expected: What should have been there.
        fix: What the user can do about it.
    """

    def __init__(
        self, what: str, *, code: str, found: str | None = None, expected: str | None = None, fix: str | None = None
    ):
        # Every part is an argument so that the error survives pickling on its way out of a Beam worker.
        super().__init__(what, code, found, expected, fix)
        self.what, self.code, self.found, self.expected, self.fix = what, code, found, expected, fix

    def __reduce__(self):
        """Rebuilds the error from its parts: exceptions with keyword arguments do not pickle by themselves."""
        return _rebuild, (type(self), self.what, self.code, self.found, self.expected, self.fix)

    def __str__(self) -> str:
        """Returns the error as `code: what` and lines of `label: text`, each safe to print and really one line."""
        parts = (("found", self.found), ("expected", self.expected), ("try", self.fix))
        lines = [f"  {label + ':':<10}{printable(text, longest=MAX_PART_LENGTH)}" for label, text in parts if text]
        return "\n".join([f"{PREFIX}{self.code}: {printable(self.what, longest=MAX_PART_LENGTH)}", *lines])


def _rebuild(
    cls: type[IadsrError], what: str, code: str, found: str | None, expected: str | None, fix: str | None
) -> IadsrError:
    return cls(what, code=code, found=found, expected=expected, fix=fix)


class InputError(IadsrError):
    """Input data, a path or an option cannot be used as given."""


class UsageError(InputError):
    """A flag, or its value, cannot be used as given."""


class ArtifactError(IadsrError):
    """A model or embedding directory is incomplete, damaged or does not fit its counterpart."""


class ConservationError(IadsrError):
    """Rows read are not rows kept + dropped + rejected: the run's output must not be trusted."""
