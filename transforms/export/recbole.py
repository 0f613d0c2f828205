"""Atomic files of RecBole: one tab-separated file, a configuration, and weights for its losses."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .export_format import Export, ExportFormat
from .user_sequences import FinishedRun, UserSequences

_NAME = "log"
"""Name of the data set, which RecBole looks for in a folder of that name."""

_NO_VALUES = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
    "[PAD]",
)
"""Ids that pandas, with which RecBole reads, takes for missing values, and RecBole's own for none."""

_WEIGHTED = '''"""Weights for the losses of RecBole, which ignores them itself."""

import torch
from recbole.model.loss import BPRLoss


class WeightedLoss(torch.nn.Module):
    """The mean of a loss over the targets of a batch, each by its weight."""

    def __init__(self, loss):
        super().__init__()
        if isinstance(loss, BPRLoss):
            self.each = Bpr(loss.gamma)
        elif isinstance(loss, (torch.nn.CrossEntropyLoss, torch.nn.BCEWithLogitsLoss)):
            self.each = type(loss)(reduction="none")
        else:
            raise TypeError(f"no weights for a loss of type {type(loss).__name__}")

    def forward(self, *arguments):
        return (self.each(*arguments) * self.weight).sum() / self.weight.sum()


class Bpr(torch.nn.Module):
    """RecBole's BPRLoss of each target."""

    def __init__(self, gamma):
        super().__init__()
        self.gamma = gamma

    def forward(self, wanted, other):
        return -torch.log(self.gamma + torch.sigmoid(wanted - other))


class Weighted:
    """Put this before a model of RecBole, and its loss counts each target by the column `weight`."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.loss_fct = WeightedLoss(self.loss_fct)

    def calculate_loss(self, interaction):
        self.loss_fct.weight = interaction["weight"]
        return super().calculate_loss(interaction)
'''


_SETTINGS = """data_path: .
dataset: {name}
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp
load_col:
  inter: [user_id, item_id, timestamp, weight{behaviour}]
eval_args:
  split: {{LS: valid_and_test}}
  order: TO
  group_by: user
  mode: full
train_neg_sample_args: ~
"""


def lines(sequences: UserSequences) -> str:
    """Returns the lines of some interactions: user, item, place in the user's sequence, weight, perhaps behaviour."""
    columns = [
        _field(sequences.ids_of_users),
        _field(sequences.item_ids),
        pa.array(sequences.ranks).cast(pa.large_string()),
        pa.array(sequences.weights).cast(pa.large_string()),
        *([] if sequences.behaviours is None else [_field(sequences.behaviours)]),
    ]
    text = pc.binary_join_element_wise(*columns, pa.scalar("\t", pa.large_string()))
    return "".join(f"{line}\n" for line in text.to_pylist())


def _field(ids: pa.Array) -> pa.Array:
    """Returns ids as a reader of CSV takes them: in quotes where they hold a tab, a line feed or a quote."""
    texts = ids.cast(pa.large_string())
    special = pc.match_substring_regex(texts, '[\t\r\n"]')
    if not pc.any(special).as_py():
        return texts
    quote = pa.scalar('"', pa.large_string())
    quoted = pc.binary_join_element_wise(
        quote, pc.replace_substring(texts, '"', '""'), quote, pa.scalar("", pa.large_string())
    )
    return pc.if_else(special, quoted, texts)


def unfit(ids: pa.Array) -> pa.Array:
    """Returns which ids RecBole would not read back as they are, bool [n]."""
    if pa.types.is_integer(ids.type):
        return pa.array(np.zeros(len(ids), bool))
    texts = ids.cast(pa.large_string())
    return pc.or_(pc.is_in(texts, value_set=pa.array(_NO_VALUES, pa.large_string())), pc.match_substring(texts, "\x00"))


def _write(export: Export) -> None:
    told = bool(export.run.behaviours)

    def parts() -> Iterator[str]:
        yield "user_id:token\titem_id:token\ttimestamp:float\tweight:float" + "\tbehaviour:token" * told + "\n"
        yield from map(lines, export.sequences())

    export.write_text(f"{_NAME}/{_NAME}.inter", parts())
    export.write_text("recbole.yaml", iter([_SETTINGS.format(name=_NAME, behaviour=", behaviour" * told)]))
    export.write_text("weighted.py", iter([_WEIGHTED]))


def _readme(run: FinishedRun) -> str:
    return """
In this folder, with `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1` in the environment, which RecBole needs from torch 2.6 on:

```python
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from weighted import Weighted


class SASRec(Weighted, SASRec):  # of the same name, by which RecBole finds the settings of a model
    pass


config = Config(SASRec, config_file_list=["recbole.yaml"])
train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
trainer = Trainer(config, SASRec(config, train_data.dataset).to(config["device"]))
trainer.fit(train_data, valid_data)
trainer.evaluate(test_data)
```

`weighted.py` brings the weights into RecBole's losses. Without it, `run_recbole` works as usual and counts each
interaction equally. `timestamp` is the place of an interaction in its user's sequence: RecBole reads times as 32-bit
floats, which hold no seconds of the present. `recbole.yaml` makes RecBole hold out what the run has held out.
""" + ("\n`behaviour` says what the user did, as a token of RecBole.\n" if run.behaviours else "")


FORMAT = ExportFormat(
    library="RecBole",
    names=(_NAME, "recbole.yaml", "weighted.py"),
    write=_write,
    readme=_readme,
    splits_itself=True,
    hold_outs=(0, 2),
    unfit=unfit,
)
