"""The functions that a request declares, in whichever dialect: how one is read, and that a name is one's."""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.types import FunctionTool, Json


def function(holder: Json, path: str, schema: str = "parameters") -> FunctionTool:
    """Of an object with its name; `schema` is the member that its parameters stand in."""
    return FunctionTool(
        checks.required_string(holder.get("name"), f"{path}.name"),
        checks.given(holder, "description", path),
        checks.given(holder, schema, path, checks.mapping),
        bool(checks.given(holder, "strict", path, checks.boolean)),
    )


class Functions:
    """Those of a request by their names: two of one name are refused by every vendor."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, FunctionTool] = {}

    def add(self, tool: FunctionTool, path: str) -> bool:
        """Whether it is new: the same declaration again changes nothing. `path` is the object with its
        name."""
        known = self._known.setdefault(tool.name, tool)
        if known is not tool and known != tool:
            raise checks.invalid(f"{path}.name", f"there are two functions {tool.name!r}.")
        return known is tool

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def named(self, name: Any, path: str, found: str | None = None) -> str:
        """A name that a choice of tools says. `found`: what the function of it is called here."""
        said = checks.required_string(name, path)
        if (found or said) not in self._known:
            raise checks.invalid(path, f"{said!r} is not among the functions in 'tools'.")
        return found or said
