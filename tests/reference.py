"""The command reference, made of the command line itself: `python tests/reference.py` writes docs/commands.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "commands.md"
EVERYWHERE = ("workspace", "json", "quiet")
PREFACE = """# Commands

Made of the command line (`python tests/reference.py`); a test holds them together. Every command takes

| option | what it does |
| --- | --- |
| `--workspace DIR` | Folder of touchstone.toml, the lake and the models; by default the one you are in. |
| `--json` | Print one JSON document on standard output; sentences go to standard error. |
| `--quiet` | Print nothing but errors. |

and ends with a status: 0 done, 1 failed, 2 wrong usage or settings, 3 rows or a model were refused (or, of `monitor`,
there is an alarm), 4 nothing to do, 5 a part is done. A moment is written as 2026-02-28 or 2026-02-28T09:00:00Z;
without a zone it is UTC.
"""


def page() -> str:
    """Return the page of all commands, in the order of the story."""
    import typer

    sys.path.insert(0, str(ROOT))
    from touchstone import app

    return "\n".join([PREFACE, *_lines("touchstone", typer.main.get_command(app))]).rstrip("\n") + "\n"


def _lines(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from _lines(f"{name} {word}", below)
        return
    own = [parameter for parameter in command.params if parameter.name not in {*EVERYWHERE, "help"}]
    arguments = [parameter for parameter in own if parameter.param_type_name == "argument"]
    words = [f"{_metavar(one)}" if one.required else f"[{_metavar(one)}]" for one in arguments]
    yield f"## {' '.join([name, *words])}\n"
    yield f"{command.help}\n"
    if own:
        yield "| option | what it does | default |\n| --- | --- | --- |"
        yield from (f"| `{_called(one)}` | {one.help} | {_default(one)} |" for one in own)
        yield ""


def _metavar(parameter: Any) -> str:
    return str(parameter.name).upper() + ("…" if parameter.nargs == -1 else "")


def _called(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _metavar(parameter)
    if parameter.is_flag:
        return str(parameter.opts[0])
    return f"{parameter.opts[0]} {_shown(parameter)}"


def _shown(parameter: Any) -> str:
    """Return what stands for an option's value."""
    if parameter.metavar or parameter.name == "as_of":
        return str(parameter.metavar or "DATE")
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return "\\|".join(get_args(kind))
    return {Path: "FILE", int: "NUMBER", float: "NUMBER"}.get(kind, "TEXT") + ("…" if parameter.multiple else "")


def _default(parameter: Any) -> str:
    given = parameter.default
    return "" if given is None or isinstance(given, bool) or callable(given) else f"`{given}`"


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")
