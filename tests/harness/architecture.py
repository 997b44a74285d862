"""The structure of a package from its source: the imports, the lengths of functions, and what does input or output.

It works on source texts, so that tests can show on invented packages that each violation is really found.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Table = Mapping[str, Collection[str]]

# What a pure module may import from the standard library, and names that would make a module impure.
PURE_LIBRARIES = {
    "__future__", "array", "bisect", "collections", "dataclasses", "datetime", "decimal", "difflib", "enum",
    "functools", "hashlib", "html", "itertools", "json", "math", "operator", "pathlib", "re", "signal", "string",
    "struct", "types", "typing", "urllib", "zoneinfo",
}  # fmt: skip
PURE_THIRD_PARTIES = {"msgspec", "numpy", "pyroaring"}
TOUCHES_THE_WORLD = {
    "absolute", "chmod", "cwd", "environ", "exists", "expanduser", "getenv", "getLogger", "glob", "home", "input",
    "is_dir", "is_file", "iterdir", "mkdir", "monotonic", "now", "open", "perf_counter", "print", "read_bytes",
    "read_text", "rename", "resolve", "rglob", "sleep", "stat", "time", "today", "touch", "unlink", "urlopen",
    "utcnow", "write_bytes", "write_text",
}  # fmt: skip


class Package:
    """The modules of a package, by name without the package's own: `core.diff`; the package itself is `__init__`."""

    def __init__(self, name: str, sources: Mapping[str, str]) -> None:
        self.name = name
        self.sources = dict(sources)
        self.trees = {module: ast.parse(source) for module, source in sources.items()}
        self._names = {module: _imported(tree) for module, tree in self.trees.items()}

    @classmethod
    def read(cls, folder: Path) -> Package:
        files = {".".join(path.relative_to(folder).with_suffix("").parts): path for path in folder.rglob("*.py")}
        return cls(
            folder.name,
            {module.removesuffix(".__init__"): path.read_text(encoding="utf-8") for module, path in files.items()},
        )

    def arrows(self, module: str) -> set[str]:
        """Return the modules of this package that a module imports, at its top or later."""
        return {self._own(name) for name in self._names[module]} - {"", module}

    def others(self, module: str) -> set[str]:
        """Return the other packages that a module imports, standard library included."""
        return {name.partition(".")[0] for name in self._names[module]} - {self.name}

    def reached(self, module: str) -> set[str]:
        """Return the modules of this package that are loaded with a module."""
        found: set[str] = set()
        left = [module]
        while left:
            new = self.arrows(left.pop()) - found
            found |= new
            left += new
        return found - {module}

    def functions(self) -> Iterator[tuple[str, int]]:
        """Return the name and the number of lines of every function."""
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{module}.{node.name}", (node.end_lineno or 0) - node.lineno + 1

    def late_imports(self) -> list[str]:
        """Return the imports inside functions: `module: import of the function`."""
        return [
            f"{module}.{function.name}: {ast.unparse(node)}"
            for module, tree in self.trees.items()
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]

    def touches(self, module: str) -> set[str]:
        """Return the names that make a module impure: what it calls, and the environment."""
        named: set[str] = set()
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Call):
                named.add(getattr(node.func, "attr", getattr(node.func, "id", "")))
            elif isinstance(node, ast.Attribute) and node.attr == "environ":
                named.add(node.attr)
        return named & TOUCHES_THE_WORLD

    def pure(self) -> set[str]:
        """Return the modules that call themselves pure, and all modules of a folder that does."""
        say = {module for module, tree in self.trees.items() if "Pure" in (ast.get_docstring(tree) or "")}
        return {module for module in self.trees if any(module == one or module.startswith(f"{one}.") for one in say)}

    def _own(self, name: str) -> str:
        """Return the module of this package that holds an imported name; nothing for another package's."""
        first, _, rest = name.partition(".")
        if first != self.name:
            return ""
        while rest and rest not in self.trees:
            rest = rest.rpartition(".")[0]
        return rest or "__init__"


def _imported(tree: ast.AST) -> set[str]:
    """Return the full names of all that a module imports, at its top or later."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(module: str) -> str:
    """Return the folder of a module, or the module itself where it lies in none."""
    return module.partition(".")[0]


def lies_in(module: str, place: str) -> bool:
    """Tell whether a module is this one or in this folder."""
    return module == place or module.startswith(f"{place}.")


def forbidden_arrows(package: Package, table: Table) -> list[str]:
    """Return the imports between folders that no line of the table allows."""
    return sorted(
        f"{module} imports {target}"
        for module in package.trees
        for target in package.arrows(module)
        if room(module) != room(target) and not any(lies_in(target, to) for to in table.get(room(module), ()))
    )


def unused_arrows(package: Package, table: Table) -> list[str]:
    """Return the lines of the table that no import needs."""
    used = {(room(module), target) for module in package.trees for target in package.arrows(module)}
    return sorted(
        f"{line} -> {to}"
        for line, allowed in table.items()
        for to in allowed
        if not any(line == start and lies_in(target, to) for start, target in used)
    )


def forbidden_libraries(package: Package, table: Table) -> list[str]:
    """Return the imports of third parties outside the places that the table gives them."""
    return sorted(
        f"{module} imports {library}"
        for module in package.trees
        for library in package.others(module) - sys.stdlib_module_names
        if not any(lies_in(module, place) for place in table.get(library, ()))
    )


def unused_libraries(package: Package, table: Table) -> list[str]:
    """Return the places of the table that do not import their third party."""
    return sorted(
        f"{library} in {place}"
        for library, places in table.items()
        for place in places
        if not any(lies_in(module, place) and library in package.others(module) for module in package.trees)
    )


def impurities(package: Package) -> list[str]:
    """Return the impure imports and calls of pure modules, and of all modules that are loaded with them."""
    loaded = {other for module in package.pure() for other in {module, *package.reached(module)}}
    allowed = PURE_LIBRARIES | PURE_THIRD_PARTIES
    imports = [f"{module} imports {name}" for module in loaded for name in package.others(module) - allowed]
    touches = [f"{module} uses {name}" for module in loaded for name in package.touches(module)]
    return sorted(imports + touches)


def circle(arrows: Mapping[str, Collection[str]]) -> list[str]:
    """Return the names that are on a circle of imports or between two: none, if every arrow runs one way."""
    left = {(start, to) for start, ends in arrows.items() for to in ends}
    while (
        inner := {(a, b) for a, b in left if a in {to for _, to in left} and b in {start for start, _ in left}}
    ) != left:
        left = inner
    return sorted({name for arrow in left for name in arrow})
