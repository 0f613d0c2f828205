# pyarrow is compiled and ships no types; the stubs that others offer contradict it in many places.
from typing import Any

def __getattr__(name: str) -> Any: ...
