"""Reads the options of the rules from a file, so that training and cleaning can share them."""

from collections.abc import Mapping
from typing import Any

from ...models.core.option import build, options_of
from ..files.option_file import with_option_file
from .rule_options import RuleOptions

_FILE = "rules"


def read_rules_file(options: RuleOptions) -> RuleOptions:
    """Returns the options with the values of the file that they name. Values beside it win if they are no defaults.

    Raises:
        InputError: The file cannot be read, is not YAML, or sets what is no option of the rules.
        UsageError: A value is none that its option takes.
    """
    named = options_of(RuleOptions)
    fields = {_FILE: "file"}
    values = {name: getattr(options, fields.get(name, name)) for name in named}
    given = {name: value for name, value in values.items() if value != named[name].default}
    return build(RuleOptions, with_rules_file(given)) if options.file is not None else options


def with_rules_file(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values of options by name, with those of the file of rules that they name. Values beside it win.

    Raises:
        InputError: The file cannot be read, is not YAML, or sets what is no option of the rules.
    """
    read = with_option_file(values, _FILE, RuleOptions)
    return {name: value for name, value in read.items() if name != _FILE}
