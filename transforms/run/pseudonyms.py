"""How a report names the users in its examples."""

import hashlib
import secrets
from typing import Any, Literal

ReportUsers = Literal["none", "hashed", "plain"]
"""No examples at all, examples with pseudonyms, or examples with the users' ids."""


def name_users(examples: list[dict[str, Any]], users: ReportUsers) -> list[dict[str, Any]]:
    """Returns the examples as a report may show them.

    A pseudonym is a keyed hash of the user's id. The key is drawn at random and forgotten. Without a key, anybody who
    can guess an id could find its pseudonym.
    """
    if users == "none":
        return []
    if users == "plain":
        return examples
    key = secrets.token_bytes(32)

    def pseudonym(user: str) -> str:
        return hashlib.blake2b(user.encode(errors="surrogatepass"), key=key, digest_size=6).hexdigest()

    return [example | {"user_id": pseudonym(example["user_id"])} for example in examples]
