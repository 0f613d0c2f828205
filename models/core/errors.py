"""The errors that a user can see.

Raise one of these when the user can do something about the problem: wrong input, a wrong option, a damaged artifact.
Each error says what went wrong, what was found, what was expected and what to try. Each has a stable code, unique to
the place that raises it and listed in docs/errors.md. The command line prints it without a stack trace.
"""

from .printable import printable

PREFIX = "IADSR-"
"""Put before every code that is shown, so that users can search for it."""

MAX_PART_LENGTH = 2000
"""Characters shown of each part of an error. Parts may quote the data, and a column's name can be a megabyte long."""


class IadsrError(Exception):
    """An error whose text is meant for the user. It is shown without a stack trace.

    Attributes:
        what: One sentence that says what went wrong. It names the file and the column if there is one.
        code: Short, stable and unique to the place that raises the error, such as LOG-TYPE.
        found: What was found.
        expected: What should have been there instead.
        fix: What the user can do about it.
    """

    def __init__(
        self, what: str, *, code: str, found: str | None = None, expected: str | None = None, fix: str | None = None
    ):
        # The error is pickled on its way out of a Beam worker. Every part is an argument, so that none is lost.
        super().__init__(what, code, found, expected, fix)
        self.what, self.code, self.found, self.expected, self.fix = what, code, found, expected, fix

    def __reduce__(self):
        """Rebuilds the error from its parts. By default, exceptions with keyword arguments cannot be unpickled."""
        return _rebuild, (type(self), self.what, self.code, self.found, self.expected, self.fix)

    def found_in(self, place: str) -> "IadsrError":
        """Returns the same error, which also says where the cause lies, such as "in the file a.yaml"."""
        return _rebuild(type(self), f"{self.what} ({place})", self.code, self.found, self.expected, self.fix)

    def __str__(self) -> str:
        """Returns one line of `code: what`, then one line of `label: text` per part. Every line is safe to print."""
        parts = (("found", self.found), ("expected", self.expected), ("try", self.fix))
        lines = [f"  {label + ':':<10}{printable(text, max_length=MAX_PART_LENGTH)}" for label, text in parts if text]
        return "\n".join([f"{PREFIX}{self.code}: {printable(self.what, max_length=MAX_PART_LENGTH)}", *lines])


def _rebuild(
    cls: type[IadsrError], what: str, code: str, found: str | None, expected: str | None, fix: str | None
) -> IadsrError:
    return cls(what, code=code, found=found, expected=expected, fix=fix)


class InputError(IadsrError):
    """Input data, a path or an option cannot be used as it was given."""


class UsageError(InputError):
    """A flag or its value cannot be used as it was given."""


class ArtifactError(IadsrError):
    """A model or embedding directory is incomplete, is damaged, or does not match the other one."""


class StoreError(InputError):
    """A file system in a cloud refuses, does not answer, or lacks the bucket. The files in it are not to blame."""


class ConservationError(IadsrError):
    """The rows read are not the rows kept + dropped + rejected. The output of the run must not be trusted."""


class EngineError(IadsrError):
    """The engine that was to run the pipeline cannot be used, or gave up. Neither the input nor iadsr is to blame."""
