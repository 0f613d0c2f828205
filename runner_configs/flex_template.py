"""Entry point of the Dataflow flex template: `iadsr clean` with the template's parameters as its options."""

import sys

from iadsr.pipeline.cli.app import main

# Template parameters are spelt with underscores, our options with dashes; Beam's options keep their underscores.
_OURS = (
    "drop_rate",
    "min_length",
    "keep_last",
    "user_column",
    "item_column",
    "timestamp_column",
    "position_column",
)


def command_line(parameters: list[str]) -> list[str]:
    """Turns what the template launcher passes (`--drop_rate=0.1`) into a command line of `iadsr`."""
    result = ["clean"]
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if name.removeprefix("--") in _OURS:
            name = "--" + name.removeprefix("--").replace("_", "-")
        result.append(name + equals + value)
    return result


if __name__ == "__main__":
    sys.argv[1:] = command_line(sys.argv[1:])
    main()
