"""The option file of MySQL's and MariaDB's own command line tools, such as ~/.my.cnf: login and TLS options."""

import re
from pathlib import Path

from chatsync.config.variables import read_small

_GROUPS = ("client", "client-server", "client-mariadb")
_GROUP = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"""([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\#]*?))\s*(?:\#.*)?""", re.DOTALL)
_ESCAPE = re.compile(r"\\([btnrs\\\"'])")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "s": " "}


def read_option_file(path: Path) -> dict[str, str]:
    """Return the options of the `client` groups, with "-" in their names replaced by "_". Raises ValueError.

    Messages never repeat the content of the file. `!include` is not followed.
    """
    try:
        lines = read_small(path).splitlines()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected text in UTF-8") from None
    options: dict[str, str] = {}
    group = ""
    for line in map(str.strip, lines):
        if start := _GROUP.match(line):
            group = start[1]
        elif group in _GROUPS and (option := _OPTION.fullmatch(line)):
            value = next(text for text in (*option.groups()[1:], "") if text is not None)
            options[option[1].replace("-", "_")] = _ESCAPE.sub(_unescaped, value)
    return options


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[1])
