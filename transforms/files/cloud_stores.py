"""Which store a URL belongs to, and how it is reached.

Credentials come from the usual chain of each cloud: environment variables, configuration files, the machine's own
role. Beam's flags `--s3_*` win over it. Beam brings its flags to every worker.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import HadoopFileSystemOptions, PipelineOptions, S3Options

from ...models.core.errors import StoreError
from .arrow_store import ArrowStore
from .beam_store import BeamStore
from .store import Store

_ATTEMPTS = 6
"""Tries of a request to S3. Their waits add up to half a minute at most."""

_SILENCE_SECONDS = 8
"""After so long without a byte, a request to S3 is tried again."""

_RETRY_SECONDS = 45
"""For so long a request to Google Cloud Storage is tried again."""


@dataclass(frozen=True)
class S3Flags:
    """What Beam's flags say of S3."""

    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    endpoint_url: str | None = None
    region_name: str | None = None
    verify: str | None = None
    """Path of a file of certificates."""
    disable_ssl: bool = False


@dataclass
class _Known:
    """The stores that this process has opened with one set of Beam's options."""

    options: PipelineOptions | None
    s3: S3Flags
    web_hdfs: bool
    """Whether HDFS is reached through Beam's own client, for WebHDFS."""
    stores: dict[str, Store]


_known = _Known(None, S3Flags(), web_hdfs=False, stores={})


def store_of(path: str) -> Store:
    """Returns the store that a URL belongs to.

    Raises:
        StoreError: Its client cannot be set up.
    """
    scheme, _, rest = path.partition("://")
    authority = rest.partition("/")[0]
    known = _current()
    opened = _OPENERS.get(scheme)
    if opened is None or (known.web_hdfs and scheme == "hdfs"):
        return BeamStore()
    root = f"{scheme}://{authority}"
    if root not in known.stores:
        try:
            known.stores[root] = opened(root, authority, known.s3)
        except ImportError as error:
            raise StoreError(
                f"The installed pyarrow has no client for {scheme}://",
                code="STORE-CLIENT",
                found=str(error),
                expected="pyarrow as the Python Package Index has it, or the client that its message names",
                fix="install pyarrow with pip",
            ) from error
    return known.stores[root]


def _current() -> _Known:
    """Returns what is known under the options that Beam has in this process."""
    global _known
    options = FileSystems._pipeline_options  # the only place where workers find them
    if options is not _known.options:
        plain, hadoop = (options or PipelineOptions([])).view_as(S3Options), None
        flags = S3Flags(
            plain.s3_access_key_id,
            plain.s3_secret_access_key,
            plain.s3_session_token,
            plain.s3_endpoint_url,
            plain.s3_region_name,
            plain.s3_verify,
            bool(plain.s3_disable_ssl),
        )
        hadoop = plain.view_as(HadoopFileSystemOptions)
        _known = _Known(options, flags, hadoop.hdfs_host is not None, {})
    return _known


def s3_arguments(flags: S3Flags, environment: dict[str, str]) -> dict[str, Any]:
    """Returns the arguments of pyarrow's S3FileSystem.

    Args:
        flags: Beam's flags.
        environment: Environment variables.

    Raises:
        StoreError: A flag cannot be followed.
    """

    def first(*names: str) -> str | None:
        return next((environment[name] for name in names if environment.get(name)), None)

    arguments: dict[str, Any] = {
        "access_key": flags.access_key_id,
        "secret_key": flags.secret_access_key,
        "session_token": flags.session_token,
        "region": flags.region_name or first("AWS_REGION", "AWS_DEFAULT_REGION"),
        "endpoint_override": flags.endpoint_url or first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "scheme": "http" if flags.disable_ssl else None,
        "tls_ca_file_path": flags.verify or first("AWS_CA_BUNDLE"),
    }
    if flags.verify is not None and flags.verify.lower() in ("false", "0", "no"):
        raise StoreError(
            "Certificates of an S3 server are always verified",
            code="STORE-VERIFY",
            found=f"--s3_verify={flags.verify}",
            expected="the path of a file of certificates",
            fix="name the file that holds the server's certificate, or use an endpoint that begins with http://",
        )
    if flags.verify is not None and flags.verify.lower() in ("true", "1", "yes"):
        arguments["tls_ca_file_path"] = first("AWS_CA_BUNDLE")
    if (endpoint := arguments["endpoint_override"]) and "://" in endpoint:
        scheme, _, address = endpoint.partition("://")
        arguments["scheme"], arguments["endpoint_override"] = arguments["scheme"] or scheme, address.rstrip("/")
    return {name: value for name, value in arguments.items() if value is not None}


def _open_s3(root: str, bucket: str, flags: S3Flags) -> Store:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    arguments = s3_arguments(flags, dict(os.environ))
    if "endpoint_override" not in arguments and "region" not in arguments:
        arguments["region"] = resolve_s3_region(bucket)
    client = S3FileSystem(
        **arguments,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        request_timeout=_SILENCE_SECONDS,
        allow_delayed_open=True,  # a small file is one request instead of three
    )
    return ArrowStore(client, root, bucket)


def _open_gcs(root: str, bucket: str, flags: S3Flags) -> Store:
    from pyarrow.fs import GcsFileSystem

    limit = timedelta(seconds=_RETRY_SECONDS)
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator is None:
        return ArrowStore(GcsFileSystem(retry_time_limit=limit), root, bucket)
    scheme, _, address = emulator.rpartition("://")
    client = GcsFileSystem(anonymous=True, scheme=scheme or "http", endpoint_override=address, retry_time_limit=limit)
    return ArrowStore(client, root, bucket)


def _open_azure(root: str, authority: str, flags: S3Flags) -> Store:
    """`abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/...`, or `abfs://CONTAINER/...` of the account that is set."""
    from pyarrow.fs import AzureFileSystem

    container, _, host = authority.partition("@")
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise StoreError(
            f"{root} does not say which storage account it is in",
            code="STORE-ACCOUNT",
            found="neither an account in the URL nor AZURE_STORAGE_ACCOUNT",
            expected="abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH",
            fix="write the whole URL, or set AZURE_STORAGE_ACCOUNT",
        )
    key, token = os.environ.get("AZURE_STORAGE_KEY"), os.environ.get("AZURE_STORAGE_SAS_TOKEN")
    client = AzureFileSystem(account, account_key=key, sas_token=None if key else token)
    return ArrowStore(client, root, container, "copy")  # this client begins a file with an empty one


def _open_hdfs(root: str, authority: str, flags: S3Flags) -> Store:
    from pyarrow.fs import HadoopFileSystem

    host, _, port = authority.partition(":")
    if root.startswith("viewfs"):
        return ArrowStore(HadoopFileSystem(root, 0), root, "", "move")
    return ArrowStore(HadoopFileSystem(host or "default", int(port or 0)), root, "", "move")


_OPENERS: dict[str, Callable[[str, str, S3Flags], Store]] = {
    "s3": _open_s3,
    "s3a": _open_s3,
    "gs": _open_gcs,
    "gcs": _open_gcs,
    "abfs": _open_azure,
    "abfss": _open_azure,
    "hdfs": _open_hdfs,
    "viewfs": _open_hdfs,
}
