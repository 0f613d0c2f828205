"""What `datasets` holds of an export, and of the run itself."""

import os
import tempfile
from pathlib import Path

os.environ["HF_HOME"] = tempfile.mkdtemp()

from client import EXPORT, by_user, report
from datasets import load_dataset

log = load_dataset(str(EXPORT))
run = str(Path(EXPORT).parent / "run")
tables = {name: load_dataset(run, name, split="train") for name in ("interactions", "sequences", "users")}
report(
    {
        **{
            part: by_user((row["user_id"], [row["item_id"], row["weight"]]) for row in rows)
            for part, rows in log.items()
        },
        "times_increase": all(
            one["timestamp"] < two["timestamp"]
            for rows in log.values()
            for one, two in zip(rows, rows.skip(1), strict=False)
            if one["user_id"] == two["user_id"]
        ),
        "sequences": {row["user_id"]: row["item_ids"] for row in tables["sequences"]},
        "interactions": [
            [row["user_id"], row["item_id"], row["keep"], row["weight"]] for row in tables["interactions"]
        ],
        "users": list(tables["users"]["user_id"]),
        "is_default": load_dataset(run, split="train").column_names == tables["interactions"].column_names,
    }
)
