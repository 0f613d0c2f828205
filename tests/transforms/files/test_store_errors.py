import pytest

from iadsr.models.core.errors import InputError, StoreError
from iadsr.transforms.files.store_errors import store_error

S3 = "When listing objects under key 'x/' in bucket 'b': AWS Error {} during ListObjectsV2 operation: "


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (S3.format("NO_SUCH_BUCKET"), "STORE-BUCKET"),
        ("Bucket 'b' not found", "STORE-BUCKET"),
        (S3.format("ACCESS_DENIED"), "STORE-DENIED"),
        (S3.format("SIGNATURE_DOES_NOT_MATCH"), "STORE-DENIED"),
        (S3.format("INVALID_ACCESS_KEY_ID"), "STORE-DENIED"),
        (S3.format("UNKNOWN (HTTP status 403)"), "STORE-DENIED"),
        (S3.format("UNKNOWN (HTTP status 301)"), "STORE-REGION"),
        (S3.format("UNKNOWN (HTTP status 503)"), "STORE-ANSWER"),
        (S3.format("NETWORK_CONNECTION") + "curlCode: 28, Timeout was reached", "STORE-ANSWER"),
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted)", "STORE-ANSWER"),
        ("google::cloud::Status(PERMISSION_DENIED: Permanent error)", "STORE-DENIED"),
    ],
)
def test_a_failure_is_told_by_its_kind(message, code):
    error = store_error("s3://b/x", OSError(message))
    assert isinstance(error, StoreError)
    assert error.code == code
    assert "s3://b/x" in error.what
    assert error.found == f"OSError: {message.strip()}"


@pytest.mark.parametrize(
    "error", [FileNotFoundError("f"), ValueError("Parquet magic bytes not found"), OSError("full")]
)
def test_what_a_file_is_to_blame_for_is_none_of_the_store(error):
    assert store_error("s3://b/x", error) is None


def test_an_error_that_was_told_already_stays_as_it_is():
    told = store_error("s3://b/x", OSError(S3.format("NO_SUCH_BUCKET")))
    assert told is not None
    assert store_error("s3://b/other", told) is told
    assert isinstance(told, InputError)
