"""The part of Kubernetes' JSONPath that printer columns and scale paths use.

Members (`.a`, `['a']`), indexes (`[0]`, `[-1]`), all items (`[*]`) and the filter
`[?(@.member=="value")]` with the comparisons == and !=. Anything else is refused when parsed.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.json import JsonValue

_STEP: Final = re.compile(
    r"""\.(?P<member>(?:\\.|[^.\[\]\\])+)
      | \[\s*(?P<quote>['"])(?P<quoted>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\s*\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \[\?\(\s*@\.(?P<path>[\w./-]+)\s*(?P<operator>==|!=)\s*
            (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s)]+))\s*\)\]""",
    re.VERBOSE,
)


class UnsupportedPath(InvalidInput):
    """A JSONPath is wrong, or uses more than printer columns may."""

    def __init__(self, path: str) -> None:
        super().__init__(f"cannot read the JSONPath {path!r}")


@dataclass(slots=True, frozen=True)
class JsonPath:
    """A parsed path."""

    steps: tuple[re.Match[str], ...]

    def find(self, value: JsonValue) -> list[Any]:
        """Return everything the path leads to; what is absent leads nowhere."""
        found = [value]
        for step in self.steps:
            found = [below for here in found for below in _follow(here, step)]
        return found


def parse_path(text: str) -> JsonPath:
    """Parse a path with or without surrounding braces.

    Raises:
        UnsupportedPath: it is not a path of the supported form.
    """
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    inner = inner.removeprefix("$")
    if inner in {"", "."}:
        return JsonPath(())
    if not inner.startswith((".", "[")):
        inner = f".{inner}"
    steps, at = [], 0
    while at < len(inner):
        step = _STEP.match(inner, at)
        if step is None:
            raise UnsupportedPath(text)
        steps.append(step)
        at = step.end()
    return JsonPath(tuple(steps))


def _follow(value: Any, step: re.Match[str]) -> list[Any]:
    name = step["member"] if step["member"] is not None else step["quoted"]
    if name is not None:
        name = re.sub(r"\\(.)", r"\1", name)
        return [value[name]] if isinstance(value, dict) and name in value else []
    if not isinstance(value, list):
        return list(value.values()) if step["all"] and isinstance(value, dict) else []
    if step["index"] is not None:
        index = int(step["index"])
        return [value[index]] if -len(value) <= index < len(value) else []
    if step["all"]:
        return value
    return [item for item in value if _passes(item, step)]


def _passes(item: Any, step: re.Match[str]) -> bool:
    for name in step["path"].split("."):
        if not isinstance(item, dict) or name not in item:
            return False
        item = item[name]
    wanted = next(
        text for text in (step["double"], step["single"], step["bare"]) if text is not None
    )
    text = {True: "true", False: "false"}.get(item, item) if isinstance(item, bool) else item
    return (str(text) == wanted) == (step["operator"] == "==")
