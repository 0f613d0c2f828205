"""Entry point of the Dataflow flex template: `iadsr clean` with the template's parameters as its options."""

import sys

from iadsr.models.core.option import options_of
from iadsr.pipeline.cli.app import main
from iadsr.pipeline.commands.command_options import CleanOptions


def command_line(parameters: list[str]) -> list[str]:
    """Turns what the template launcher passes, such as `--drop_rate=0.1`, into a command line of `iadsr`.

    The launcher gives every parameter a value. On the command line a switch has none: it is there or not. The launcher
    names Beam's runner. As an engine of ours, Dataflow gets safe settings too.
    """
    switches = {f"--{option.name}" for option in options_of(CleanOptions).values() if option.type is bool}
    result = ["clean"]
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if parameter == "--runner=DataflowRunner":
            result.append("--engine=dataflow")
        elif name in switches and value.lower() in ("true", "false"):
            result += [name] if value.lower() == "true" else []
        else:
            result.append(parameter)
    return result


if __name__ == "__main__":
    sys.argv[1:] = command_line(sys.argv[1:])
    main()
