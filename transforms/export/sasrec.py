"""The text file of SASRec.pytorch and what descends from it: a user and an item in each line."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from .export_format import Export, ExportFormat
from .user_sequences import FinishedRun

_FILE = "log.txt"


def _write(export: Export) -> None:
    def parts() -> Iterator[str]:
        for sequences, users, items in export.numbered():
            columns = [users.take(pa.array(sequences.users)).cast(pa.string()), items.cast(pa.string())]
            text = pc.binary_join_element_wise(*columns, " ")
            yield "".join(f"{line}\n" for line in text.to_pylist())

    export.write_text(_FILE, parts())


def _readme(run: FinishedRun) -> str:
    return f"""
Copy `{_FILE}` into the folder `data` of SASRec.pytorch, and there:

```console
$ python main.py --dataset=log --train_dir=default --maxlen=200 --device=cpu
```

It takes each user's last two interactions away itself: those that the run has held out. It takes no weights.
Numbers of users are new in each export, because it fails where one is missing. Those of items can be kept.
"""


FORMAT = ExportFormat(
    library="SASRec.pytorch",
    names=(_FILE,),
    write=_write,
    readme=_readme,
    first_number=1,
    keeps_users=False,
    splits_itself=True,
    hold_outs=(0, 2),
)
