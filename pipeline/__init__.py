"""The commands: wiring, options, progress, messages and the report; and their Python API.

    from iadsr.pipeline import clean

    result = clean(interactions="log.parquet", embeddings="embeddings", model="model", output="cleaned")
    print(result)

Keyword arguments have the names of the command line's options. `help(clean)` lists them.
"""

from .commands.api import clean, embed, evaluate, train, tune, verify

__all__ = ["clean", "embed", "evaluate", "train", "tune", "verify"]
