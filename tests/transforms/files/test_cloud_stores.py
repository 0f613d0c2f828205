import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from iadsr.models.core.errors import StoreError
from iadsr.transforms.files import cloud_stores, storage
from iadsr.transforms.files.arrow_store import ArrowStore
from iadsr.transforms.files.beam_store import BeamStore
from iadsr.transforms.files.cloud_stores import S3Flags, s3_arguments, store_of
from iadsr.transforms.files.listing import list_files


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        (S3Flags(), {}, {}),
        (S3Flags("id", "secret", "token"), {}, {"access_key": "id", "secret_key": "secret", "session_token": "token"}),
        (S3Flags(), {"AWS_DEFAULT_REGION": "eu-west-1"}, {"region": "eu-west-1"}),
        (S3Flags(region_name="a"), {"AWS_REGION": "b", "AWS_DEFAULT_REGION": "c"}, {"region": "a"}),
        (
            S3Flags(),
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000/"},
            {"scheme": "http", "endpoint_override": "127.0.0.1:9000"},
        ),
        (
            S3Flags(endpoint_url="https://s3.example"),
            {"AWS_ENDPOINT_URL_S3": "http://other"},
            {"scheme": "https", "endpoint_override": "s3.example"},
        ),
        (S3Flags(endpoint_url="host:1", disable_ssl=True), {}, {"scheme": "http", "endpoint_override": "host:1"}),
        (S3Flags(verify="/certificates.pem"), {}, {"tls_ca_file_path": "/certificates.pem"}),
        (S3Flags(verify="true"), {"AWS_CA_BUNDLE": "/b.pem"}, {"tls_ca_file_path": "/b.pem"}),
    ],
)
def test_flags_win_over_the_environment(flags, environment, expected):
    assert s3_arguments(flags, environment) == expected


def test_certificates_are_verified_or_it_is_told():
    with pytest.raises(StoreError) as error:
        s3_arguments(S3Flags(verify="False"), {})
    assert error.value.code == "STORE-VERIFY"


@pytest.fixture
def options(monkeypatch):
    """Gives Beam options for one test."""
    monkeypatch.setattr(cloud_stores, "_known", cloud_stores._Known(None, S3Flags(), web_hdfs=False, stores={}))

    def give(*flags: str) -> None:
        monkeypatch.setattr(FileSystems, "_pipeline_options", PipelineOptions(list(flags)))

    return give


def test_each_scheme_has_its_store_and_each_bucket_one(options, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    options("--s3_region_name=us-east-1")
    assert isinstance(store_of("s3://a/b"), ArrowStore)
    assert store_of("s3://a/c") is store_of("s3://a/b")
    assert store_of("s3://b/c") is not store_of("s3://a/b")
    assert isinstance(store_of("memory://a/b"), BeamStore)
    before = store_of("s3://a/b")
    options("--s3_region_name=eu-west-1")
    assert store_of("s3://a/b") is not before
    assert store_of("s3://a/b")._files.region == "eu-west-1"


def test_hdfs_goes_through_beam_where_its_flags_are_given(options):
    options("--hdfs_host=h", "--hdfs_port=1", "--hdfs_user=u")
    assert isinstance(store_of("hdfs://a/b"), BeamStore)


def test_an_azure_url_names_its_account_or_the_environment_does(options, monkeypatch):
    options()
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT", raising=False)
    with pytest.raises(StoreError) as error:
        store_of("abfs://container/log")
    assert error.value.code == "STORE-ACCOUNT"
    store = store_of("abfs://container@account.dfs.core.windows.net/log")
    assert store._inside("abfs://container@account.dfs.core.windows.net/log/a") == "container/log/a"


@pytest.fixture
def server(options, monkeypatch):
    """A server that answers every request with one status, and counts them."""
    asked = Counter()

    class Answer(BaseHTTPRequestHandler):
        def answer(self):
            asked[self.command] += 1
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(server.status)
            self.end_headers()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.asked = asked
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(cloud_stores, "_ATTEMPTS", 2)
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    options(f"--s3_endpoint_url=http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


OPERATIONS = {
    "list": lambda: storage.list_names("s3://b/d"),
    "find": lambda: list_files("s3://b/d/*.parquet"),
    "exists": lambda: storage.exists("s3://b/f"),
    "read": lambda: storage.read_bytes("s3://b/f"),
    "write": lambda: storage.write_atomically("s3://b/f", lambda file: file.write(b"x")),
    "delete": lambda: storage.delete("s3://b/f"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("status", "code"), [(503, "STORE-ANSWER"), (403, "STORE-DENIED")])
def test_a_store_that_refuses_or_fails_is_told_after_a_few_tries(server, operation, status, code):
    server.status = status
    with pytest.raises(StoreError) as error:
        OPERATIONS[operation]()
    assert error.value.code == code
    assert sum(server.asked.values()) <= 2


def test_a_server_that_is_not_there_is_told(options, monkeypatch):
    monkeypatch.setattr(cloud_stores, "_ATTEMPTS", 1)
    options("--s3_endpoint_url=http://127.0.0.1:1", "--s3_region_name=us-east-1")
    with pytest.raises(StoreError) as error:
        storage.list_names("s3://b/d")
    assert error.value.code == "STORE-ANSWER"
