"""Makes a function of plain keyword arguments from a command and the dataclass of its options."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ...models.core.option import Option, build, options_of

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from ..engines.progress import Progress

R = TypeVar("R")

Beam = Sequence[str] | Mapping[str, Any]
"""Options of Apache Beam: flags such as `--direct_num_workers=2`, or a mapping such as `{"direct_num_workers": 2}`."""


@dataclass(frozen=True)
class Command:
    """A command, from which both the command line and a function of the API are made."""

    name: str
    """Its name."""
    options: type
    """The dataclass of its options."""
    run: Callable[[Any, "PipelineOptions", "Progress | None"], Any]
    """Runs it. Its docstring is the help of the command."""


def keyword_function(options: type) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Makes a function of keyword arguments from one of options, Beam's options and progress.

    Args:
        options: Dataclass of the options. Their names, types, defaults and help become the signature and docstring.
    """

    def decorate(run: Callable[..., R]) -> Callable[..., R]:
        signature = _signature(run, options)

        def call(*arguments: Any, **named: Any) -> R:
            given = _bind(run.__name__, signature, arguments, named)
            beam, progress = given.pop("beam", None), given.pop("progress", False)
            checked = build_options(options, given)
            from rich.console import Console

            from ..engines.import_quietly import without_apitools_warning
            from ..engines.progress import Progress

            with without_apitools_warning():
                from ..engines.runner import start_beam

                return run(checked, start_beam(beam), Progress(Console(stderr=True) if progress else None))

        shown: Any = call
        shown.__name__ = shown.__qualname__ = run.__name__
        shown.__module__, shown.__doc__ = run.__module__, _docstring(run, options)
        shown.__signature__ = signature
        shown.command = Command(run.__name__, options, run)
        return shown

    return decorate


def build_options(options: type[R], given: Mapping[str, Any]) -> R:
    """Makes the options of a command from the values that a user has given, and from the files that these name.

    Raises:
        IadsrError: A value is none that its option takes, or a file cannot be used.
    """
    if given.get("rules") is not None:
        from ...transforms.rules.rules_file import with_rules_file

        given = with_rules_file(given)
    if given.get("policy") is not None:
        from ...transforms.files.option_file import with_option_file
        from ...transforms.judge.policy import Policy

        given = with_option_file(given, "policy", Policy)
    return build(options, given)


def command_of(function: Any) -> Command:
    """Returns the command that a function of the API was made from."""
    return function.command


def _signature(run: Callable[..., Any], options_class: type) -> inspect.Signature:
    parameters = [_parameter(each) for each in sorted(options_of(options_class).values(), key=lambda o: not o.required)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters += [
        inspect.Parameter("beam", keyword, default=None, annotation=Beam | None),
        inspect.Parameter("progress", keyword, default=False, annotation=bool),
    ]
    return inspect.Signature(parameters, return_annotation=run.__annotations__["return"])


def _parameter(declared: Option) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if declared.positional else inspect.Parameter.KEYWORD_ONLY
    default = inspect.Parameter.empty if declared.required else declared.default
    return inspect.Parameter(declared.name, kind, default=default, annotation=declared.type)


def _bind(name: str, signature: inspect.Signature, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call by name.

    Raises:
        TypeError: One is missing or unknown, as of any function.
    """
    try:
        return dict(signature.bind(*arguments, **named).arguments)
    except TypeError as error:
        unknown = [each for each in named if each not in signature.parameters]
        close = difflib.get_close_matches(unknown[0], signature.parameters, n=1) if unknown else []
        raise TypeError(f"{name}() {error}" + (f"; did you mean {close[0]!r}?" if close else "")) from None


def _docstring(run: Callable[..., Any], options_class: type) -> str:
    lines = [f"    {each.name}: {each.help}" for each in options_of(options_class).values()]
    return "\n".join(
        [
            inspect.cleandoc(run.__doc__ or ""),
            "",
            "Args:",
            *lines,
            '    beam: Options of Apache Beam: flags such as ["--direct_num_workers=2"], or {"direct_num_workers": 2}.',
            "    progress: Show progress on the standard error.",
            "",
            "Returns:",
            "    What came of it. Printed, it says what the command line says.",
            "",
            "Raises:",
            "    IadsrError: Something cannot be used as given; the error says what was found and what to do.",
        ]
    )
