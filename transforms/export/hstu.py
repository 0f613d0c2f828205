"""The CSV of generative-recommenders (HSTU): a line for each user, with lists of items, ratings and times.

HSTU reads a rating as what the user did with the item. If the log has behaviours, ratings are their places in the
order, from 1 for the weakest, and after them those of other behaviours.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from .export_format import Export, ExportFormat
from .user_sequences import FinishedRun

_FILE = "sasrec_format.csv"
"""The name that the library's own preprocessors give to such a file."""

_MICROSECONDS = 1_000_000


def _write(export: Export) -> None:
    def parts() -> Iterator[str]:
        yield "user_id,sequence_item_ids,sequence_ratings,sequence_timestamps\n"
        for sequences, users, items in export.numbered():
            seconds = sequences.moments // _MICROSECONDS
            ratings = export.run.behaviour_numbers(sequences) + 1
            columns = [_joined(values, sequences.offsets) for values in (items.to_numpy(), ratings, seconds)]
            yield "".join(
                f'{user},"{item_list}","{rating_list}","{times}"\n'
                for user, item_list, rating_list, times in zip(users.to_pylist(), *columns, strict=True)
            )

    export.write_text(_FILE, parts())


def _joined(values: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Returns the values of each user with commas between them."""
    texts = pa.array(values).cast(pa.string()).to_pylist()
    return [",".join(texts[start:end]) for start, end in itertools.pairwise(offsets)]


def _readme(run: FinishedRun) -> str:
    validation = f"""
validation = DatasetV2("{_FILE}", padding_length=201, ignore_last_n=1)""".rstrip()
    return f"""
With `generative_recommenders` on the path, in this folder:

```python
from generative_recommenders.research.data.dataset import DatasetV2

train = DatasetV2("{_FILE}", padding_length=201, ignore_last_n={run.hold_out}){validation * (run.hold_out > 1)}
test = DatasetV2("{_FILE}", padding_length=201, ignore_last_n=0)
```

Item 0 is padding. {_ratings(run)}, and times are seconds. The library takes no weights.
"""


def _ratings(run: FinishedRun) -> str:
    named = ", ".join(f"{number} for {behaviour}" for number, behaviour in enumerate(run.behaviours, 1))
    return f"Ratings are behaviours ({named})" if named else "Ratings are 1"


FORMAT = ExportFormat(
    library="generative-recommenders (HSTU)",
    names=(_FILE,),
    write=_write,
    readme=_readme,
    first_number=1,
    splits_itself=True,
    hold_outs=(1, 2),
)
