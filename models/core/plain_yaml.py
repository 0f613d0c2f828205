"""Reads YAML of plain values only."""

from typing import Any

import yaml

MAX_BYTES = 1 << 16

MAX_DEPTH = 8
"""Levels of nesting; two are used."""


def load_plain_yaml(content: bytes) -> Any:
    """Returns the values. No tag builds an object, and no alias makes a small file large in memory.

    Raises:
        yaml.YAMLError: The content is not YAML.
        ValueError: It is too long, nested too deeply, holds an alias, or sets a key twice.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    depth = 0
    for event in yaml.parse(content, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("an alias (*name); write the value itself")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    _refuse_repeated(yaml.compose(content, yaml.SafeLoader))
    return yaml.safe_load(content)


def _refuse_repeated(node: Any) -> None:
    """Refuses a key that is set twice. YAML would silently take the last value."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        name = str(key.value).replace("-", "_")
        if name in seen:
            raise ValueError(f"{name} is set twice")
        seen.add(name)
        _refuse_repeated(value)
