"""Data frames for RecTools, which weighs each target of SASRec and BERT4Rec by the column `weight`."""

from functools import partial

from ..contract.added_columns import SPLITS
from .export_format import ExportFormat
from .frames import BEHAVIOUR, frame, write_frames
from .user_sequences import FinishedRun

TIME = "datetime"
"""Name of the column of times in RecTools."""


def _readme(run: FinishedRun) -> str:
    head = """
In this folder:

```python
import pandas as pd
from rectools.dataset import Dataset
from rectools.models import SASRecModel

"""
    if run.hold_out > 1:
        body = """
train, validation, test = (pd.read_parquet(part) for part in ("train", "validation", "test"))
moments = pd.MultiIndex.from_frame(validation[["user_id", "datetime"]])


def is_validation(interactions):
    return pd.MultiIndex.from_frame(interactions[["user_id", "datetime"]]).isin(moments)


dataset = Dataset.construct(pd.concat([train, validation]))
model = SASRecModel(get_val_mask_func=is_validation, epochs=10)
model.fit(dataset)
model.recommend(users=test["user_id"], dataset=dataset, k=10, filter_viewed=True)
"""
    elif run.hold_out:
        body = """
train, test = (pd.read_parquet(part) for part in ("train", "test"))
dataset = Dataset.construct(train)
model = SASRecModel(epochs=10)
model.fit(dataset)
users = test["user_id"][test["user_id"].isin(train["user_id"])]
model.recommend(users=users, dataset=dataset, k=10, filter_viewed=True)
"""
    else:
        body = """
dataset = Dataset.construct(pd.read_parquet("train"))
model = SASRecModel(epochs=10)
model.fit(dataset)
"""
    return f"""{head}{body.lstrip()}```

RecTools multiplies the loss of each item by its `weight`.
{BEHAVIOUR if run.behaviours else ""}"""


FORMAT = ExportFormat(
    library="RecTools", names=SPLITS, write=partial(write_frames, to_table=partial(frame, time=TIME)), readme=_readme
)
