"""The manifest of a run: what was read, decided and written, in one file that programs can read.

`Manifest` is the format of `manifest.json`, and docs/manifest.schema.json describes it for programs in other languages.
A run without a manifest is not finished.
"""

import dataclasses
import functools
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...models.core.errors import ArtifactError, InputError
from ..contract.output_layout import MANIFEST
from ..files.storage import exists, join, read_bytes
from ..files.table_formats import TableVersion
from ..files.tables import WrittenFile
from ..read.input_plan import SkippedFile

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT_VERSION = 1

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclasses.dataclass(frozen=True)
class ModelOrigin:
    """The model that scored the log."""

    path: str
    """The model directory."""
    fingerprint: str
    """SHA-256 of the model's weights and configuration."""
    backbone: str
    """Name of the sequence model."""
    metrics: dict[str, Any]
    """What training measured."""
    changed_at: float = 0.0
    """Time at which the model was written, in seconds since 1970; 0 if the file system does not tell."""


@dataclasses.dataclass(frozen=True)
class EmbeddingsOrigin:
    """The text embeddings of the items."""

    path: str
    """The embedding directory."""
    kind: str
    """Always "semantic": the vectors come from texts."""
    encoder: str
    """Name of the text encoder."""
    revision: str
    """Version of the text encoder."""
    pooling: str
    """How the vectors of a text's tokens became one vector."""
    dimension: int
    """Length of every vector."""
    text_columns: tuple[str, ...]
    """Columns of the catalogue whose text was embedded, in order."""
    fingerprint: str
    """SHA-256 of ids, texts and vectors."""
    changed_at: float = 0.0
    """Time at which they were written, in seconds since 1970; 0 if the file system does not tell."""


@dataclasses.dataclass(frozen=True)
class RowCounts:
    """Rows of the whole log: read = kept + dropped + rejected."""

    read: int
    """Rows of all input files."""
    kept: int
    """Interactions kept."""
    dropped: int
    """Interactions dropped."""
    rejected: int
    """Rows that could not be used."""


@dataclasses.dataclass(frozen=True)
class InputFile:
    """One input file and its rows: read = kept + dropped + rejected."""

    path: str
    """Path or URL."""
    read: int
    """Rows in the file."""
    kept: int
    """Interactions kept."""
    dropped: int
    """Interactions dropped."""
    rejected: int
    """Rows that could not be used."""
    unreadable: int
    """How many of the rejected rows lie in a damaged part of the file."""
    bytes: int
    """Size of the file when it was read."""
    changed_at: float
    """Time of the file's last change, in seconds since 1970; 0 if the file system does not tell."""
    partitions: dict[str, str | None]
    """Columns that do not stand in the file but in the names of its folders or in the log of its table, as text."""


@dataclasses.dataclass(frozen=True)
class UserCounts:
    """Users of the log."""

    total: int
    """All users with a usable row."""
    shortened: int
    """Users who lost at least one interaction."""
    emptied: int
    """Users who lost all their interactions."""
    lookalikes: int
    """About how many users have an id that is another spelling of somebody's: in case, Unicode form, space or zeros."""
    shared_accounts: int | None = None
    """Users who are named as shared accounts: several of their interactions were dropped as noise:run. Null if an older
    version has not counted them."""


@dataclasses.dataclass(frozen=True)
class ItemTotals:
    """Items of the log."""

    total: int
    """All items in a usable row."""
    without_text: int | None
    """Items that the model knows and the embeddings do not: judged by behaviour alone. Null if rules alone decided."""
    unknown: int | None
    """Items that neither the model nor the embeddings know: not judged. Null if rules alone decided."""
    borrowed: int | None
    """Items new to the model, whose collaborative vector comes from items with similar texts. Null likewise."""


@dataclasses.dataclass(frozen=True)
class ReasonCounts:
    """Number of rows for each reason, by the reason's code."""

    dropped: dict[str, int]
    """Interactions dropped. All reasons are listed."""
    kept: dict[str, int]
    """Interactions kept that have a reason. All reasons are listed."""
    rejected: dict[str, int]
    """Rows rejected. Only the reasons that occurred are listed."""


@dataclasses.dataclass(frozen=True)
class RuleFindings:
    """What one rule has found. Rules run before the model, in the order in which they are listed."""

    rule: str
    """Name of the rule; the reason of what it drops."""
    parameters: dict[str, Any]
    """Its parameters."""
    drops: bool
    """Whether it drops what it finds. If not, it only counts."""
    interactions: int
    """Interactions that it found and no earlier rule had dropped."""
    users: int
    """Users of these interactions."""


@dataclasses.dataclass(frozen=True)
class Times:
    """What the times of the log mean."""

    unit: str | None
    """Unit of the times: s, ms, us or ns. Null if they are only an order."""
    resolution_seconds: float | None
    """Almost all times are multiples of so many seconds. Null if they are only an order."""
    first: str
    """The earliest time. Values that mean no time do not count."""
    last: str
    """The latest time, likewise."""
    notes: tuple[str, ...]
    """What is odd about the times, in sentences."""


@dataclasses.dataclass(frozen=True)
class AppliedPolicy:
    """The rule by which interactions were dropped."""

    rule: Literal["auto", "drop_rate", "threshold", "weightless"]
    """What the rule follows: the log's certain share of noise, a share of interactions, a noise probability, or the
    weights."""
    drop_rate: float | None
    """Share of all interactions that were to be dropped; null if the rule names none."""
    threshold: float | None
    """Lowest noise probability of dropped interactions; null if none was to be dropped, or if the weights decide."""
    weight_strength: float
    """An interaction that is kept weighs 1 - weight_strength * p, p being the model's own probability of a stray."""
    min_weight: float
    """Nothing that is kept weighs less."""
    min_length: int
    """No user is shortened below this number of interactions."""
    keep_last: int
    """This number of each user's last interactions is never dropped."""


@dataclasses.dataclass(frozen=True)
class NoiseShareEstimate:
    """The share of noise among the interactions that were judged."""

    estimate: float | None
    """The share, from 0 to 1; null if it is not known."""
    lower: float | None
    """Lower end of the 95% interval; null if the share is not known."""
    upper: float | None
    """Upper end of the 95% interval; null if the share is not known."""
    unknown_because: str | None
    """Why the share is not known; null if it is."""
    among_dropped: float | None
    """Share of noise to be expected among the dropped interactions; null if it is not known."""


@dataclasses.dataclass(frozen=True)
class ProbabilityHistogram:
    """Number of judged interactions by noise probability."""

    edges: tuple[float, ...]
    """Edges of the bins, ascending from 0 to 1: one more than there are bins."""
    kept: tuple[int, ...]
    """Interactions kept, by bin."""
    dropped: tuple[int, ...]
    """Interactions dropped, by bin."""


@dataclasses.dataclass(frozen=True)
class PopularityBucket:
    """The items that occur about equally often in the log."""

    label: str
    """The range of counts, such as 5-8."""
    min_count: int
    """Interactions of the rarest item."""
    max_count: int
    """Interactions of the most popular item."""
    items: int
    """Items in the bucket."""
    interactions: int
    """Interactions with these items that no rule dropped."""
    dropped: int
    """How many of these interactions were dropped as noise."""
    drop_rate: float | None
    """Share of the interactions dropped; null if there are none, and if rules alone decided."""
    expected_genuine_drop_rate: float | None
    """Share of the genuine interactions dropped, as their noise probabilities say; null if it is not known."""


@dataclasses.dataclass(frozen=True)
class BehaviourCounts:
    """The interactions of one behaviour, such as views."""

    behaviour: str
    """The value of the column of behaviours, as text."""
    interactions: int
    """All interactions of this behaviour."""
    dropped: int
    """How many of them were dropped."""
    journeys: int | None
    """Journeys that reach no stronger behaviour, after the rules. A journey is what one user does with one item. Null
    if the behaviours have no order."""
    noise_share: float | None
    """Estimated share of noise in the interactions of these journeys. Null if it is not known."""


@dataclasses.dataclass(frozen=True)
class SequenceLengths:
    """Number of users by number of interactions."""

    labels: tuple[str, ...]
    """Names of the classes of lengths: 0, 1, 2, 3-4, 5-8, ..."""
    before: tuple[int, ...]
    """Users before cleaning, by class."""
    after: tuple[int, ...]
    """Users after cleaning, by class."""


@dataclasses.dataclass(frozen=True)
class TakenOver:
    """What was not computed again."""

    run: str
    """Name of the run beside this one that had computed it."""
    scored_users: int
    """Users whose scores were taken over. If a run was resumed, those before its last start are not counted."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a run of `iadsr clean` read, decided and wrote."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "use_attribute_docstrings": True}

    format_version: Literal[1]
    """Version of this format."""
    run: str
    """Token of the run, which differs between any two runs."""
    iadsr_version: str
    """Version of iadsr."""
    started_at: str
    """Time at which the run started, ISO 8601."""
    model: ModelOrigin | None
    """The model that scored the log. Null if rules alone decided."""
    embeddings: EmbeddingsOrigin | None
    """The text embeddings of the items. Null if rules alone decided."""
    options: dict[str, Any]
    """All options of the run."""
    versions: dict[str, str]
    """Versions of Python and of the libraries that the result depends on."""
    finished_at: str
    """Time at which the run finished, ISO 8601."""
    durations_seconds: dict[str, float]
    """Seconds from start to finish as `total`, and by step, summed over all workers."""
    rows: RowCounts
    """Rows of the whole log."""
    files: tuple[InputFile, ...]
    """The input files, in the order in which they were read."""
    skipped_files: tuple[SkippedFile, ...]
    """Input files that the run left out: those that are not Parquet, and bad ones if it was told to."""
    tables: tuple[TableVersion, ...]
    """Tables in the input, such as those of Delta Lake, and the version of each that was read."""
    notes: tuple[str, ...]
    """What looks wrong or may surprise in how the input was read, in sentences."""
    directory: str | None
    """The working directory of the run, if paths of input files are relative to it; else null."""
    outputs: tuple[WrittenFile, ...]
    """The Parquet files of the result, in ascending order of path."""
    users: UserCounts
    """Users of the log."""
    items: ItemTotals
    """Items of the log."""
    reasons: ReasonCounts
    """Number of rows for each reason."""
    times: Times
    """What the times of the log mean."""
    rules: tuple[RuleFindings, ...]
    """What each rule has found."""
    policy: AppliedPolicy | None
    """How interactions were dropped as noise. Null if rules alone decided."""
    noise_share: NoiseShareEstimate | None
    """The share of noise among the interactions that were judged. Null if rules alone decided."""
    noise_probability_histogram: ProbabilityHistogram | None
    """Number of judged interactions by noise probability. Null if rules alone decided."""
    popularity_buckets: tuple[PopularityBucket, ...]
    """Drop rates by popularity of the items, from the rarest items on."""
    sequence_lengths: SequenceLengths
    """Number of users by number of interactions."""
    identity: dict[str, str] = dataclasses.field(default_factory=dict)
    """Fingerprint of each thing that the result depends on: input, options, rules, model, embeddings, versions and
    processor. Runs of equal fingerprints have the same bytes in their Parquet files."""
    behaviours: tuple[BehaviourCounts, ...] = ()
    """What users did with items, weakest first. Empty if the log has no column of behaviours."""
    taken_over: TakenOver | None = None
    """What was taken over from an earlier run. Null if nothing could be."""
    weightless: int | None = None
    """Interactions kept that weigh 0 in training, whatever their reason. Rules alone leave none. Null if an older
    version has not counted them."""
    model_probabilities: tuple[int, ...] | None = None
    """Number of judged interactions by the model's own noise probability, before it is recalibrated to the share of
    noise in this log: in bins of equal width from 0 to 1. Null if rules alone decided, or an older version has not
    counted them."""

    def __post_init__(self):
        """Checks what the types cannot say.

        Raises:
            ValueError: A count is negative, a time is none, or a file lies outside the output directory.
        """
        numbers = {
            "rows": [*vars(self.rows).values()],
            "files": [
                count
                for file in self.files
                for count in (file.read, file.kept, file.dropped, file.rejected, file.unreadable, file.bytes)
            ],
            "outputs": [count for file in self.outputs for count in (file.rows, file.size)],
            "reasons.rejected": [*self.reasons.rejected.values()],
        }
        for name, found in numbers.items():
            if min(found, default=0) < 0:
                raise ValueError(f"{name}: a number is negative")
        if not all(file.changed_at >= 0 for file in self.files):  # not even NaN
            raise ValueError("files: changed_at is no time")
        if any(".." in file.path.split("/") for file in self.outputs):
            raise ValueError("outputs: a path leads out of the output directory")
        if "total" not in self.durations_seconds:
            raise ValueError("durations_seconds: total is missing")

    @property
    def total_seconds(self) -> float:
        """Seconds from start to finish."""
        return self.durations_seconds["total"]

    @property
    def report_users(self) -> str | None:
        """The option of this name: how the report names users."""
        return self.options.get("report_users")

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Reads what `to_json` writes. Keys that are not known are ignored.

        Raises:
            ValueError: The text is no manifest of this format. The message names the first entry that is wrong.
        """
        from pydantic import ValidationError

        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place, problem = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{place}: {problem}" if place else problem) from error

    def to_json(self) -> str:
        """Returns the manifest as JSON, laid out for people as well."""
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
        # Bytes in the name of a file that are no UTF-8 are lone surrogates in Python. JSON cannot hold these.
        return _LONE_SURROGATES.sub(lambda match: f"\\\\u{ord(match[0]):x}", text)


@functools.cache
def _adapter() -> "TypeAdapter[Manifest]":
    # Takes a moment to import, and most processes of a run read no manifest.
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def manifest_schema() -> dict[str, Any]:
    """Returns the JSON schema of `manifest.json`, which docs/manifest.schema.json holds."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema()}


def read_manifest(output: str) -> Manifest:
    """Reads the manifest of a finished run.

    Raises:
        InputError: There is no manifest, it is no JSON or has another format, or the file system does not say.
        ArtifactError: An entry of the manifest is missing or is not what it should be.
    """
    try:
        path = join(output, MANIFEST)
        if not exists(path):
            raise ValueError("there is none")
        text = read_bytes(path)
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"no manifest of format {FORMAT_VERSION}")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{output} holds no finished run",
            code="OUTPUT-UNFINISHED",
            found=f"{MANIFEST}: {error}",
            expected="a directory that `iadsr clean` has finished",
            fix="run `iadsr clean` again with the same arguments: it resumes an unfinished run; or name one run of a "
            "dataset directory, such as dataset/run=2026-11-28",
        ) from error
    try:
        return Manifest.from_json(text)
    except ValueError as error:
        raise incomplete_manifest(output, str(error)) from error


def incomplete_manifest(output: str, why: str) -> ArtifactError:
    """Returns the error to raise if a manifest lacks something that its reader needs."""
    return ArtifactError(
        f"The manifest of {output} is not complete",
        code="VERIFY-MANIFEST",
        found=why,
        expected="the manifest that `iadsr clean` writes",
        fix="clean the log again; do not use this output",
    )
