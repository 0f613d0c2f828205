"""What a step finds in the directory of a run when it begins: one listing instead of a question for each file."""

from .loaded_once import LoadedOnce
from .storage import exists, is_local, list_names


class ListedOnce:
    """The files that an earlier start of a run has left in a directory.

    It is a part of a DoFn. Each process lists a store's directory once, when it first needs to know. A file that
    appears later is made again, with the same bytes. On this machine each file is asked for.
    """

    def __init__(self, directory: str):
        self._directory = directory
        self._names = LoadedOnce[frozenset[str]]()

    def has(self, path: str) -> bool:
        """Returns whether a file of the directory was there.

        Raises:
            InputError: The file system does not say.
        """
        if is_local(path):
            return exists(path)
        names = self._names.get(lambda: frozenset(list_names(self._directory)))
        return path.removeprefix(self._directory.rstrip("/") + "/") in names
