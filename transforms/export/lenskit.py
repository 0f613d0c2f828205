"""Data frames for LensKit, which takes each pair of user and item once."""

from functools import partial

from ..contract.added_columns import SPLITS
from .export_format import ExportFormat
from .frames import BEHAVIOUR, frame, write_frames
from .user_sequences import FinishedRun


def _readme(run: FinishedRun) -> str:
    test = """
test = ItemListCollection.from_df(pd.read_parquet("test"), "user_id")
lists = recommend(pipeline, test.keys(), n=10, n_jobs=1)
"""
    return f"""
In this folder:

```python
import pandas as pd
from lenskit.batch import recommend
from lenskit.data import ItemListCollection, from_interactions_df
from lenskit.knn import ItemKNNScorer
from lenskit.pipeline import topn_pipeline

train = from_interactions_df(pd.read_parquet("train"))
pipeline = topn_pipeline(ItemKNNScorer(max_nbrs=20, feedback="implicit"))
pipeline.train(train)
{test.strip() if run.hold_out else "lists = recommend(pipeline, train.users.ids(), n=10, n_jobs=1)"}
```

`train.interaction_table()` has `weight` as a column. LensKit's own models do not use it. Where a user has an item more
than once, the last time counts: LensKit takes a pair of user and item once.
{BEHAVIOUR if run.behaviours else ""}"""


FORMAT = ExportFormat(
    library="LensKit",
    names=SPLITS,
    write=partial(write_frames, to_table=partial(frame, time="timestamp")),
    readme=_readme,
    once=True,
)
