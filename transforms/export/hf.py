"""A folder that `datasets` of Hugging Face loads: interactions as rows, with the parts of the split."""

from functools import partial

from ..contract.added_columns import SPLITS
from ..write.dataset_card import card_header
from .export_format import ExportFormat
from .frames import BEHAVIOUR, frame, write_frames
from .user_sequences import FinishedRun


def _header(run: FinishedRun) -> str:
    return card_header({"interactions": {split: f"{split}/*.parquet" for split in run.splits}})


def _readme(run: FinishedRun) -> str:
    parts = ", ".join(f'log["{split}"]' for split in run.splits)
    return f"""
```python
from datasets import load_dataset

log = load_dataset("THIS FOLDER")  # {parts}
```

Each row is an interaction: `user_id`, `item_id`, `timestamp`, and the `weight` that it should have in a loss.
{BEHAVIOUR if run.behaviours else ""}"""


FORMAT = ExportFormat(
    library="Hugging Face datasets",
    names=SPLITS,
    write=partial(write_frames, to_table=partial(frame, time="timestamp")),
    readme=_readme,
    header=_header,
)
