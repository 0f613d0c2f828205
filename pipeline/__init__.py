"""The commands: wiring, options, progress, messages and the report; and their Python API.

    from iadsr.pipeline import clean

    result = clean(interactions="log.parquet", embeddings="embeddings", model="model", output="cleaned")
    print(result)

Keyword arguments have the names of the command line's options. `help(clean)` lists them.
"""

from .commands.api import check, clean, diff, embed, evaluate, export, metrics, publish, train, tune, verify

__all__ = ["check", "clean", "diff", "embed", "evaluate", "export", "metrics", "publish", "train", "tune", "verify"]
