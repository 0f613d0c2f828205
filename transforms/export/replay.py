"""Parquet of encoded sequences for RePlay, and what loads it with each weight at the item that it belongs to."""

import numpy as np
import pyarrow as pa

from ..contract.output_layout import shard_file
from .export_format import Export, ExportFormat
from .user_sequences import TEST, TRAIN, VALIDATION, FinishedRun, UserSequences

_LOADER = "load.py"

_LOAD = '''"""Loads this folder into RePlay."""

from pathlib import Path

from replay.data import FeatureHint, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorSchema
from replay.nn.transform import SequenceRollTransform
from replay.nn.transform.template import make_default_sasrec_transforms

ITEMS = {items}  # numbers of items are from 0 to ITEMS - 1, and ITEMS is padding
HELD_OUT = {held_out}
BEHAVIOURS = {behaviours}  # by their numbers; the number after the last one is padding


def make_schema(embedding_dim):
    """Returns the schema for a model. Exclude the feature `weight` from its embeddings."""
    item = TensorFeatureInfo(
        "item_id",
        FeatureType.CATEGORICAL,
        is_seq=True,
        feature_hint=FeatureHint.ITEM_ID,
        cardinality=ITEMS,
        padding_value=ITEMS,
        embedding_dim=embedding_dim,
    )
    weight = TensorFeatureInfo("weight", FeatureType.NUMERICAL, is_seq=True, tensor_dim=1, embedding_dim=embedding_dim)
    behaviour = TensorFeatureInfo(
        "behaviour",
        FeatureType.CATEGORICAL,
        is_seq=True,
        cardinality=len(BEHAVIOURS),
        padding_value=len(BEHAVIOURS),
        embedding_dim=embedding_dim,
    )
    return TensorSchema([item, weight, behaviour] if BEHAVIOURS else [item, weight])


def make_data(schema, length, batch_size):
    """Returns the data for a trainer, in sequences of at most `length` items."""
    transforms = make_default_sasrec_transforms(schema)
    # Each position predicts the next item, so the weight of the next item must stand there.
    transforms["train"].insert(0, SequenceRollTransform("weight", roll=-1))

    def history(size):
        lists = {{"item_id": {{"shape": size, "padding": ITEMS}}}}
        return lists | ({{"behaviour": {{"shape": size, "padding": len(BEHAVIOURS)}}}} if BEHAVIOURS else {{}})

    metadata = {{"train": history(length + 1) | {{"weight": {{"shape": length + 1, "padding": 0.0}}}}}}
    for part, held_out in HELD_OUT.items():
        metadata[part] = history(length) | {{
            "query_id": {{}},
            "ground_truth": {{"shape": held_out, "padding": -1}},
            "train": {{"shape": length, "padding": -2}},
        }}
    here = Path(__file__).parent
    folders = {{"train": "train", "validate": "validation", "test": "test"}}
    paths = {{f"{{part}}_path": str(here / folders[part]) for part in metadata}}
    return ParquetModule(
        batch_size, metadata, {{part: transforms[part] for part in metadata}}, **paths
    )
'''


def _write(export: Export) -> None:
    for shard, (sequences, users, items) in enumerate(export.numbered()):
        name, numbers = shard_file(shard, export.run.shards), items.to_numpy()
        history = {"item_id": numbers}
        if sequences.behaviours is not None:
            history["behaviour"] = export.run.behaviour_numbers(sequences)
        training = sequences.split == TRAIN
        values = history | {"weight": sequences.weights, "timestamp": sequences.moments}
        columns = {column: (each, training) for column, each in values.items()}
        export.write_table(f"train/{name}", _table(sequences, users, columns))
        for part, split in ((VALIDATION, "validation"), (TEST, "test")):
            if split in export.run.splits:
                known, wanted = sequences.split < part, sequences.split == part
                columns = {column: (each, known) for column, each in history.items()}
                columns |= {"ground_truth": (numbers, wanted), "train": (numbers, known)}
                export.write_table(f"{split}/{name}", _table(sequences, users, columns))
    export.write_text(_LOADER, iter([_loader(export)]))


def _loader(export: Export) -> str:
    held_out = {"validate": export.run.hold_out - 1, "test": 1}
    sizes = {part: size for part, size in held_out.items() if export.run.hold_out and size}
    return _LOAD.format(items=export.item_numbers, held_out=sizes, behaviours=list(export.run.behaviours))


def _table(sequences: UserSequences, users: pa.Array, columns: dict[str, tuple[np.ndarray, np.ndarray]]) -> pa.Table:
    """Returns a row for each user with something in all of the columns.

    Args:
        sequences: The users' interactions.
        users: Number of each user.
        columns: For each column a value for each interaction [n], and which of them belong there, bool [n].
    """
    chosen = np.all([sequences.count(rows) > 0 for _, rows in columns.values()], axis=0)
    lists = {}
    for name, (values, rows) in columns.items():
        mine = rows & chosen[sequences.users]
        offsets = np.append(0, np.cumsum(sequences.count(mine)[chosen])).astype(np.int32)
        lists[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[mine]))
    return pa.table({"query_id": users.filter(pa.array(chosen)), **lists})


def _readme(run: FinishedRun) -> str:
    test = "callbacks=[ComputeMetricsCallback(ks=[10])]"
    if run.hold_out < 2:
        test = "limit_val_batches=0, num_sanity_val_steps=0" + f", {test}" * (run.hold_out > 0)
    return f"""
In this folder:

```python
import lightning
from load import make_data, make_schema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import ComputeMetricsCallback
from replay.nn.loss import CEWeighted
from replay.nn.sequential import SasRec

schema = make_schema(embedding_dim=64)
data = make_data(schema, length=50, batch_size=128)
model = SasRec.from_params(schema, embedding_dim=64, max_sequence_length=50, excluded_features=["weight"])
model.loss = CEWeighted("weight", ignore_index=schema["item_id"].padding_value)
model.loss.logits_callback = model.get_logits
module = LightningModule(model)
trainer = lightning.Trainer(max_epochs=10, {test})
trainer.fit(module, data){chr(10) + "trainer.test(module, data)" if run.hold_out else ""}
```

`load.py` makes RePlay's data module, and puts each weight at the item that it belongs to. In `validation/` and `test/`,
`item_id` is what comes before the held-out items, and `ground_truth` is these.{_BEHAVIOURS if run.behaviours else ""}
"""


_BEHAVIOURS = """

`behaviour` says what the user did. The model adds a vector for it to that of the item. Add it to `excluded_features` to
go without."""


FORMAT = ExportFormat(
    library="RePlay",
    names=("train", "validation", "test", _LOADER),
    write=_write,
    readme=_readme,
    first_number=0,
)
