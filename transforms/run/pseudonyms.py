"""How a report names the users in its examples."""

import hashlib
import secrets
from collections.abc import Callable
from typing import Any, Literal

ReportUsers = Literal["none", "hashed", "plain"]
"""No examples at all, examples with pseudonyms, or examples with the users' ids."""


def name_users(users: ReportUsers) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """Returns what names a user as a report may. None if the report shows no user.

    A pseudonym is a keyed hash of the user's id. The key is drawn at random and forgotten. Without a key, anybody who
    can guess an id could find its pseudonym.
    """
    if users == "none":
        return None
    if users == "plain":
        return lambda user: user | {"user_id": str(user["user_id"])}
    key = secrets.token_bytes(32)

    def pseudonym(user: str) -> str:
        return hashlib.blake2b(user.encode(errors="surrogatepass"), key=key, digest_size=6).hexdigest()

    return lambda user: user | {"user_id": pseudonym(str(user["user_id"]))}
