"""The options that name an engine, and what its address says. The command line imports this: nothing heavy in here."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from ...models.core.errors import UsageError
from ...models.core.option import PATHS, RUN, check_options, option

Kind = Literal["spark", "flink", "prism", "dataflow"]

_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
_PORTS = {"spark": 7077, "flink": 8081}
_LOCAL = re.compile(r"local(\[(\d+|\*)\])?")
_WANTED = "spark://HOST:PORT, spark://local[N], flink://HOST:PORT, prism or dataflow"
_SECRET = "secret|password|token|credential|key|connection_string"

_SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)

_SECRET_INSIDE = re.compile(rf"(?:{_SECRET})[\w.-]*[\"']?\s*[=:]|process_variables|[\"']env[\"']", re.IGNORECASE)
"""A setting inside a value: the variables of workers hold credentials."""


@dataclass(frozen=True)
class Address:
    """What `--engine` names."""

    kind: Kind
    """The engine."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Where its masters listen; nothing if it is started on this machine, or needs no address."""
    cores: int | None = None
    """For Spark and Flink on this machine: the tasks that run side by side; 0: one on each core."""

    @property
    def name(self) -> str:
        """The engine's name as its own project writes it."""
        return {"spark": "Spark", "flink": "Flink", "prism": "prism", "dataflow": "Dataflow"}[self.kind]

    @property
    def places(self) -> str:
        """Host and port of each master, with commas."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)


@dataclass(frozen=True)
class EngineOptions:
    """Which engine runs a pipeline, and its settings."""

    engine: str | None = option(
        None,
        help=f"What runs the pipeline: {_WANTED}. Default: this machine.",
        panel=RUN,
        metavar="ADDRESS",
    )
    engine_options: tuple[str, ...] | None = option(
        None,
        help="Settings of the engine, such as spark.executor.memory=4g or storage_level=DISK_ONLY. In a configuration "
        "file, they also stand as NAME: VALUE under engine:, with the address as address: ADDRESS.",
        panel=RUN,
        metavar="NAME=VALUE,...",
    )
    job_server_jar: str | None = option(
        None, help="Beam's job server for Spark or Flink. Default: Beam downloads it once.", panel=PATHS
    )

    def __post_init__(self):
        """Refuses an address that names no engine, and settings where there is none."""
        check_options(self)
        useless = "engine_options" if self.engine_options else "job_server_jar" if self.job_server_jar else None
        kind = self.address.kind if self.address is not None else None
        if self.job_server_jar and kind in ("prism", "dataflow"):
            useless = "job_server_jar"
        elif kind is not None:
            useless = None
        if useless is not None:
            flag = "--" + useless.replace("_", "-")
            raise UsageError(
                f"{flag} is of no use here",
                code="ENGINE-USELESS",
                found=f"{flag} with {f'--engine {self.engine}' if self.engine else 'no --engine'}",
                expected="an --engine that takes it",
                fix=f"name the engine, such as --engine spark://HOST:7077, or leave out {flag}",
            )
        _ = self.settings

    @property
    def address(self) -> Address | None:
        """The address of the engine; None: this machine.

        Raises:
            UsageError: The address names no engine.
        """
        return None if self.engine is None else parse_address(self.engine)

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings by name.

        Raises:
            UsageError: One is not NAME=VALUE, or is given twice.
        """
        settings: dict[str, str] = {}
        for text in self.engine_options or ():
            name, equals, value = text.partition("=")
            name = name.strip() if "." in name else name.strip().lstrip("-").replace("-", "_")
            if not equals or not name or name in settings:
                raise UsageError(
                    "--engine-options does not take this value",
                    code="ENGINE-SETTING",
                    found=f"{name} twice" if name in settings else text,
                    expected="NAME=VALUE, each name once",
                    fix="write each setting as in spark.executor.memory=4g",
                )
            settings[name] = value.strip()
        return settings

    def recorded(self) -> dict[str, Any]:
        """Returns the options as the manifest records them: no settings that may be secret."""
        hidden = [f"{name}={without_secrets(name, value)}" for name, value in self.settings.items()]
        return {**dataclasses.asdict(self), "engine_options": hidden or None}


def without_secrets(name: str, value: Any) -> Any:
    """Returns the value of a setting for people to see: "(hidden)" if it may be secret, or hold something that is."""
    return "(hidden)" if _SECRET_NAME.search(name) or _SECRET_INSIDE.search(str(value)) else value


def parse_address(text: str) -> Address:
    """Reads what `--engine` names.

    Raises:
        UsageError: It names no engine, or one in another way.
    """
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    kind = _KINDS.get(scheme)
    if kind in ("prism", "dataflow") and not rest:
        return Address(kind)
    if kind is None or not separator or scheme not in _PORTS:
        raise UsageError(
            "--engine names no engine that clean runs on",
            code="ENGINE-NAME",
            found=text,
            expected=_WANTED,
            fix=_advice(scheme, rest),
        )
    rest = rest.rstrip("/")
    if match := _LOCAL.fullmatch(rest):
        cores = match[2] or ("1" if kind == "spark" else "*")
        return Address(kind, cores=0 if cores == "*" else int(cores))
    return Address(kind, tuple(_host(text, part, _PORTS[scheme]) for part in rest.split(",")))


def _host(text: str, part: str, default: int) -> tuple[str, int]:
    try:
        parsed = urlsplit(f"//{part}")
        host, port = parsed.hostname, parsed.port
    except ValueError:
        host, port = None, None
    parsed_back = {f"{host}", f"{host}:{port}", f"[{host}]", f"[{host}]:{port}"}
    if not host or port == 0 or part.lower() not in parsed_back or not re.fullmatch(r"[\w.:%-]+", host):
        raise UsageError(
            "--engine names no address",
            code="ENGINE-ADDRESS",
            found=text,
            expected="a host and a port from 1 to 65535, such as spark://10.0.0.5:7077",
            fix="copy the address from the page of the cluster's master",
        )
    return host, port or default


def _advice(scheme: str, rest: str) -> str:
    if scheme in ("yarn", "k8s", "kubernetes", "mesos"):
        return "write the job as a jar and give it to spark-submit: see docs/clusters.md"
    if scheme in ("http", "https"):
        return f"a Flink cluster is named flink://{rest.strip('/') or 'HOST:8081'}; Spark's web page is not its address"
    if scheme.startswith("local"):
        return f"for Spark on this machine write spark://{scheme}; without --engine, this machine runs it without Spark"
    if scheme in _PORTS:
        return f"name where its master listens: {scheme}://HOST:{_PORTS[scheme]}"
    return "correct --engine; any other runner of Beam is named by --runner"
