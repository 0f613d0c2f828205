"""The names of the export formats. A format is the module of its name in this folder.

The command line imports this module, so it imports nothing heavy.
"""

from typing import Literal

FormatName = Literal["recbole", "rectools", "replay", "hf", "lenskit", "sasrec", "hstu"]
