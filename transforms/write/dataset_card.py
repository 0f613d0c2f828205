"""The header of a dataset card, by which the `datasets` library of Hugging Face knows what is in a folder."""

from collections.abc import Mapping

import yaml

from ..contract.output_layout import INTERACTIONS, SEQUENCES, USERS


def card_header(configs: Mapping[str, Mapping[str, str]]) -> str:
    """Returns the header for the README of a folder.

    Args:
        configs: For each table in the folder, first the one that is loaded if none is named, the glob of its files by
            the part of the split.
    """
    listed = [
        {
            "config_name": name,
            **({"default": True} if not number else {}),
            "data_files": [{"split": split, "path": path} for split, path in parts.items()],
        }
        for number, (name, parts) in enumerate(configs.items())
    ]
    return f"---\n{yaml.safe_dump({'configs': listed}, sort_keys=False)}---\n"


def run_card() -> str:
    """Returns the card of a run of `iadsr clean`."""
    header = card_header({name: {"train": f"{name}/*.parquet"} for name in (INTERACTIONS, SEQUENCES, USERS)})
    return f"""{header}
# A cleaned interaction log

Written by `iadsr clean`. `report.html` shows what was dropped and why, and `manifest.json` accounts for every row.

```python
from datasets import load_dataset

interactions = load_dataset("THIS FOLDER", split="train")  # every row, with what was decided about it
sequences = load_dataset("THIS FOLDER", "sequences", split="train")  # what was kept, one row for each user
users = load_dataset("THIS FOLDER", "users", split="train")  # what each user is like
```
"""
