"""Says what a store's failure means.

Clients report a missing bucket, wrong credentials and a server that is down in much the same words.
"""

import re

from ...models.core.errors import StoreError

_FROM_A_STORE = re.compile(r"AWS Error|google::cloud::Status|[Aa]zure|[Bb]ucket '[^']*' not found|lib(hdfs|jvm)")
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|[Bb]ucket '[^']*' not found|ContainerNotFound|bucket does not exist")
_DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|MISSING_AUTHENTICATION|TOKEN|"
    r"HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED|Authenticat|Authoriz|[Cc]redential"
)
_ELSEWHERE = re.compile(r"PERMANENT_REDIRECT|HTTP status 301|AuthorizationHeaderMalformed")


def first_line(error: BaseException) -> str:
    """Returns one line about the cause. Beam wraps the real error in a dictionary of path to exception."""
    details = getattr(error, "exception_details", None)
    cause = next(iter(details.values())) if isinstance(details, dict) and details else error
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}"


def store_error(path: str, error: BaseException) -> StoreError | None:
    """Returns an error of ours that says what keeps a store from serving a path; None if it is not the store's."""
    if isinstance(error, StoreError):
        return error
    found = first_line(error)
    if not _FROM_A_STORE.search(found):
        return None
    if _NO_BUCKET.search(found):
        return StoreError(
            f"There is no bucket for {path}",
            code="STORE-BUCKET",
            found=found,
            expected="a bucket that exists",
            fix="check the name and the endpoint, and create the bucket; iadsr creates none",
        )
    if _ELSEWHERE.search(found):
        return StoreError(
            f"The bucket of {path} is in another region",
            code="STORE-REGION",
            found=found,
            expected="the region of the bucket",
            fix="set AWS_REGION, or pass --s3_region_name",
        )
    if _DENIED.search(found):
        return StoreError(
            f"The store refuses {path}",
            code="STORE-DENIED",
            found=found,
            expected="credentials that may list, read, write and delete there",
            fix="set the credentials of the cloud, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on all "
            "machines, and check what they allow",
        )
    return StoreError(
        f"The store does not serve {path}",
        code="STORE-ANSWER",
        found=found,
        expected="an answer; several tries failed",
        fix="check the endpoint, the network and the state of the store, and run again: a run resumes",
    )
