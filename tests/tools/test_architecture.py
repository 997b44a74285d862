"""The structure of the package: who may import whom, what is pure, how long things may be.

The tables below are the rules: an import that no line allows fails, and so does a line that no import needs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import chatsync
from tests.harness import architecture
from tests.harness.architecture import Package

PACKAGE = Package.read(Path(chatsync.__file__).parent)

# Each folder, and each module that lies in none: what it may import of the package.
ARROWS = {
    "__main__": {"cli"},
    "cli": {"__init__", "clean_output", "command_group", "errors", "invocation", "logs", "redaction"},
    "command_group": {"invocation", "logs"},
    "commands": {
        *("cancel_scope", "config", "core", "databases", "demo_world", "diagnostics", "errors", "exclusions"),
        *("clean_output", "files", "invocation", "language", "monitoring", "page", "sync"),
    },
    "demo_world": {"databases", "errors"},
    "invocation": {"cancel_scope", "config", "core", "errors", "monitoring"},
    "diagnostics": {
        *("cancel_scope", "config", "core", "databases", "errors", "exclusions", "parallel"),
        *("language", "sync", "ytsaurus"),
    },
    "page": {"core", "diagnostics", "errors", "language", "sync"},
    "monitoring": {
        *("__init__", "cancel_scope", "config", "core", "databases", "errors", "exclusions", "files", "parallel"),
        *("redaction", "sync"),
    },
    "sync": {
        *("cancel_scope", "config", "core", "databases", "errors", "exclusions", "files", "parallel", "progress"),
        *("export", "memory", "redaction"),
    },
    "exclusions": {"cancel_scope", "config.settings", "core", "errors", "parallel", "progress", "ytsaurus"},
    "export": {"cancel_scope", "config.settings", "core", "errors", "progress", "ytsaurus"},
    "ytsaurus": {"cancel_scope", "config", "core", "errors", "parallel", "redaction", "known_secrets"},
    "databases": {"cancel_scope", "config", "core", "errors", "parallel"},
    "language": {"core"},
    "core": {"config.settings", "errors"},
    "config": {"errors", "redaction", "known_secrets"},
    "parallel": {"cancel_scope", "errors"},
    "cancel_scope": {"errors"},
    "files": {"errors", "redaction"},
    "logs": {"errors", "redaction"},
    "progress": {"clean_output"},
    "clean_output": {"redaction"},
    "known_secrets": {"redaction"},
}

# Each third party: the folders and modules that may import it.
LIBRARIES = {
    "click": {"cli", "command_group", "commands", "progress"},
    "jinja2": {"page.render"},
    "msgspec": {"config", "core", "diagnostics", "sync"},
    "mysql": {"databases", "diagnostics.doctor_databases"},
    "numpy": {"core", "databases.packed_ids"},
    "prometheus_client": {"monitoring.textfile"},
    "pyroaring": {"commands.history", "core", "databases", "diagnostics", "exclusions", "export", "page", "sync"},
    "sqlalchemy": {"databases", "demo_world", "diagnostics.doctor_databases"},
    "tabulate": {"diagnostics", "sync"},
    "yt": {"ytsaurus"},
}

LONGEST_FILE, LONGEST_FUNCTION, NINE_IN_TEN_FUNCTIONS = 250, 50, 18
ARROWS_A_FILE = 4.0
LATE_IMPORTS = 7  # `--help` and a chain with nothing to do load nothing heavy: tests/job/test_imports.py


def test_every_import_is_allowed_by_a_line_of_the_table() -> None:
    assert architecture.forbidden_arrows(PACKAGE, ARROWS) == []


def test_every_line_of_the_table_is_needed() -> None:
    assert architecture.unused_arrows(PACKAGE, ARROWS) == [], "take these lines out of ARROWS"


def test_third_parties_are_imported_where_they_belong() -> None:
    assert architecture.forbidden_libraries(PACKAGE, LIBRARIES) == []
    assert architecture.unused_libraries(PACKAGE, LIBRARIES) == [], "take these out of LIBRARIES"


def test_no_arrow_between_modules_runs_in_a_circle() -> None:
    assert architecture.circle({module: PACKAGE.arrows(module) for module in PACKAGE.trees}) == []


def test_no_arrow_between_folders_runs_in_a_circle() -> None:
    assert (
        architecture.circle({line: {architecture.room(to) for to in allowed} for line, allowed in ARROWS.items()}) == []
    )


def test_pure_modules_touch_nothing_and_load_nothing_that_does() -> None:
    assert "core.diff" in PACKAGE.pure()
    assert architecture.impurities(PACKAGE) == []


def test_nothing_is_too_long() -> None:
    lines = {module: len(source.splitlines()) for module, source in PACKAGE.sources.items()}
    functions = dict(PACKAGE.functions())
    lengths = sorted(length for _, length in PACKAGE.functions())

    assert {module: length for module, length in lines.items() if length > LONGEST_FILE} == {}
    assert {name: length for name, length in functions.items() if length > LONGEST_FUNCTION} == {}
    assert lengths[int(len(lengths) * 0.9)] <= NINE_IN_TEN_FUNCTIONS


def test_there_are_few_arrows_and_few_late_imports() -> None:
    assert sum(len(PACKAGE.arrows(module)) for module in PACKAGE.trees) <= ARROWS_A_FILE * len(PACKAGE.trees)
    assert len(PACKAGE.late_imports()) <= LATE_IMPORTS, PACKAGE.late_imports()


# -- the checks themselves, on made-up packages: each complaint is really made --

SMALL = {
    "cli": "from shop import till\nimport click",
    "till": "from shop.rules.prices import price\nfrom datetime import datetime\ndatetime.now()",
    "rules": '"""What things cost. Pure."""',
    "rules.prices": "import math\nfrom shop.errors import ShopError",
    "errors": "",
}
SMALL_ARROWS = {"cli": {"till"}, "till": {"rules"}, "rules": {"errors"}}
SMALL_LIBRARIES = {"click": {"cli"}}


def with_module(name: str, source: str) -> Package:
    """Return the small package with one module added, or with lines added to one that it has."""
    return Package("shop", {**SMALL, name: f"{SMALL.get(name, '')}\n{source}"})


def complaints(package: Package) -> list[str]:
    return [
        *architecture.forbidden_arrows(package, SMALL_ARROWS),
        *architecture.unused_arrows(package, SMALL_ARROWS),
        *architecture.forbidden_libraries(package, SMALL_LIBRARIES),
        *architecture.unused_libraries(package, SMALL_LIBRARIES),
        *architecture.impurities(package),
        *architecture.circle({module: package.arrows(module) for module in package.trees}),
    ]


def test_a_sound_package_has_no_complaints() -> None:
    assert complaints(Package("shop", SMALL)) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("errors", "import shop.cli", ["errors imports cli", "cli", "errors", "rules.prices", "till"]),
        (
            "rules.prices",
            "from shop import till",
            ["rules.prices imports till", "till uses now", "rules.prices", "till"],
        ),
        ("rules.prices", "def late():\n    from shop.till import x", ["rules.prices imports till", "till uses now"]),
        ("shelf", "from shop.till import open_it", ["shelf imports till"]),
        ("till", "import yt.wrapper as yt", ["till imports yt"]),
        ("rules.prices", "import os", ["rules.prices imports os"]),
        ("rules.prices", "from requests import get", ["rules.prices imports requests"]),
        ("rules.prices", "open('prices')", ["rules.prices uses open"]),
        ("errors", "import time\ntime.time()", ["errors imports time", "errors uses time"]),
        ("errors", "from pathlib import Path\nPath('x').read_text()", ["errors uses read_text"]),
    ],
)
def test_a_forbidden_import_or_call_is_found(module: str, source: str, found: list[str]) -> None:
    assert set(found) <= set(complaints(with_module(module, source)))


@pytest.mark.parametrize("line", SMALL_ARROWS)
def test_a_line_that_is_taken_out_is_missed(line: str) -> None:
    table = {name: allowed for name, allowed in SMALL_ARROWS.items() if name != line}

    assert [
        found.split(" ")[0].split(".")[0] for found in architecture.forbidden_arrows(Package("shop", SMALL), table)
    ] == [line]


def test_no_line_of_the_real_table_can_be_taken_out() -> None:
    for line, allowed in ARROWS.items():
        for to in allowed:
            assert architecture.forbidden_arrows(PACKAGE, {**ARROWS, line: set(allowed) - {to}}) != [], (line, to)


@pytest.mark.parametrize(
    ("table", "unused"), [({"cli": {"till", "errors"}}, "cli -> errors"), ({"shelf": {"till"}}, "shelf -> till")]
)
def test_a_line_that_nothing_needs_is_found(table: dict[str, set[str]], unused: str) -> None:
    assert architecture.unused_arrows(Package("shop", SMALL), {**SMALL_ARROWS, **table}) == [unused]


def test_a_place_that_does_not_use_its_third_party_is_found() -> None:
    found = architecture.unused_libraries(Package("shop", SMALL), {"click": {"cli", "till"}, "yt": {"till"}})

    assert found == ["click in till", "yt in till"]


def test_functions_are_measured_with_their_lines() -> None:
    package = Package("shop", {"till": "def ring():\n    x = 1\n    import os\n    return x"})

    assert list(package.functions()) == [("till.ring", 4)]
    assert package.late_imports() == ["till.ring: import os"]
