"""Who the users in a report's examples are called."""

import hashlib
import secrets
from typing import Any, Literal

ReportUsers = Literal["none", "hashed", "plain"]
"""No examples at all, examples under pseudonyms, or under the users' ids."""


def name_users(examples: list[dict[str, Any]], users: ReportUsers) -> list[dict[str, Any]]:
    """Returns the examples as a report may show them.

    A pseudonym is a hash under a key that is drawn for the run and forgotten: without a key, whoever can guess an id
    could find it.
    """
    if users == "none":
        return []
    if users == "plain":
        return examples
    key = secrets.token_bytes(32)

    def pseudonym(user: str) -> str:
        return hashlib.blake2b(user.encode(errors="surrogatepass"), key=key, digest_size=6).hexdigest()

    return [example | {"user_id": pseudonym(example["user_id"])} for example in examples]
