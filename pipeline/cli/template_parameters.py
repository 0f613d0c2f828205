"""The parameters of the Dataflow flex template, made from the options of `clean`.

After a change of those options, write the file again from the repository's root:

    python -m iadsr.pipeline.cli.template_parameters > runner_configs/flex_template.json
"""

import json
from typing import Any

from ...models.core.option import Option, options_of
from ..commands.command_options import CleanOptions
from ..engines.engine_options import EngineOptions

_BEAM = [
    {
        "name": "sdk_container_image",
        "label": "Workers' image",
        "helpText": "The image of this template.",
        "isOptional": True,
    }
]


# The template has its engine. Nobody waits for its job, so nothing can be checked or published when it has finished.
LEFT_OUT = {*options_of(EngineOptions), "dataset", "run_id", "gates", "keep_runs"}


def describe_template() -> dict[str, Any]:
    """Returns the metadata of the template, as Dataflow reads them."""
    return {
        "name": "iadsr clean",
        "description": "Scores every interaction of a log, explains and removes the noisy ones, and writes a report.",
        "parameters": [
            *(_parameter(each) for name, each in options_of(CleanOptions).items() if name not in LEFT_OUT),
            *_BEAM,
        ],
    }


def _parameter(option: Option) -> dict[str, Any]:
    described = {"name": option.name, "label": option.name.replace("_", " ").capitalize(), "helpText": option.help}
    if option.required or option.name == "output":  # all are paths, which workers in the cloud must be able to read
        return {**described, "regexes": ["^gs://.+"]}
    if str(option.range):
        described["helpText"] += f" Range: {option.range}."
    if option.default is not None:
        described["helpText"] += f" Default: {str(option.default).lower()}."
    return {**described, "isOptional": True}


if __name__ == "__main__":
    print(json.dumps(describe_template(), indent=2))
