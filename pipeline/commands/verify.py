"""The verify command: checks a finished run from its files."""

import dataclasses
from collections.abc import Iterator

from ...transforms.run.verification import Verified, verify_output
from .command_options import VerifyOptions
from .messages import describe_verification
from .results import Result, Table


@dataclasses.dataclass(frozen=True, repr=False)
class VerifyResult(Result):
    """What `iadsr verify` checked and found right."""

    verified: Verified
    """Counts of rows, files and users."""
    output: str
    """The directory."""

    def __str__(self) -> str:
        """Says what was checked."""
        return describe_verification(self.verified, self.output)

    def tables(self) -> Iterator[Table]:
        """Returns the counts of rows."""
        yield [["rows", ""], *dataclasses.asdict(self.verified.rows).items()]


def run_verify(options: VerifyOptions) -> VerifyResult:
    """Checks the result of `iadsr clean`.

    Raises:
        InputError: The run is not finished.
        ArtifactError: A file is missing, added or changed, or its content breaks the contract.
        ConservationError: Rows do not add up, or are not those of the input.
    """
    return VerifyResult(verify_output(options.output), options.output)
