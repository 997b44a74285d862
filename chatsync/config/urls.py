"""URLs of databases: how they are parsed, without ever showing a secret."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from chatsync.config.database_url import DatabaseUrl, Option, Secret
from chatsync.redaction import keep_secret

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LOGIN_IN_FILE = re.compile(r":/{1,3}[^\s:/@\"']*:(.+)@")
# A password may hold an "@", a "/" or a "?" as well. What follows it may not, except the values of the query.
_ADDRESS = re.compile(
    r"(?:(?P<login>.*?)@)?(?P<server>[^@/?]+)/(?P<schema>[^@/?]+)(?:\?(?P<query>(?:\w+=.*)?))?", re.DOTALL
)
_PATH_OPTIONS = ("ssl_ca", "ssl_cert", "ssl_key")
_LIST_OPTIONS = ("tls_versions", "tls_ciphersuites")
# Beside the URL's own parts these would lead to another database, or open as another user, than the URL shows.
_ADDRESS_OPTIONS = frozenset({
    "host", "port", "unix_socket", "user", "password", "passwd", "password1", "password2", "password3",
    "database", "db", "dsn", "dns_srv", "failover", "option_files", "option_groups", "read_default_file",
})  # fmt: skip
# With these the driver returns something else than numbers and texts, or connections that were used before.
_ROW_OPTIONS = frozenset({
    "raw", "use_unicode", "converter_class", "client_flags", "pool_name", "pool_size", "pool_reset_session",
})  # fmt: skip
# With these a server could ask for files of this machine.
_FILE_OPTIONS = frozenset({"allow_local_infile", "allow_local_infile_in_path"})
_REFUSED_OPTIONS = {
    **dict.fromkeys(_ADDRESS_OPTIONS, "write it into the URL itself: mysql://USER:PASSWORD@HOST:PORT/SCHEMA"),
    **dict.fromkeys(_ROW_OPTIONS, "this program sets how rows are read; remove the option"),
    **dict.fromkeys(_FILE_OPTIONS, "this program sends no files; remove the option"),
}
_MYSQL = "mysql"
_SQLITE = "sqlite"
_MYSQL_PORT = 3306
_MAX_PORT = 65535

_HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?", re.ASCII)
_LONGEST_HOST = 253  # of a name in DNS


def fill_in(text: str) -> str:
    """Replace each `${NAME}` by the environment variable. Raises ValueError that names one that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set")
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def valid_text(text: str) -> str:
    """Return a text that files, databases and the cluster can take. Raises ValueError for any other."""
    if "\0" in text or (not text.isascii() and text != text.encode("utf-8", "replace").decode("utf-8")):
        raise ValueError("expected a text without NUL in valid UTF-8")
    return text


def keep_secrets_in(text: str) -> None:
    """Register the passwords of all URLs in the text of a configuration, wherever in it they stand."""
    for line in text.splitlines():
        for password in _LOGIN_IN_FILE.findall(line):
            if not _VARIABLE.search(password):
                keep_secret(password)
                keep_secret(unquote(password))


def _part(text: str) -> str:
    """Decode one part of a split URL: percent-escapes in the file count, those in a variable's value don't."""
    pieces = _VARIABLE.split(text)
    filled = (fill_in("${" + piece + "}") if at % 2 else unquote(piece) for at, piece in enumerate(pieces))
    return valid_text("".join(filled))


def parse_url(url: str, *, base: Path) -> DatabaseUrl:
    """Split `url`, and only then fill in variables, so that a password may hold any character.

    `base` is the folder that relative paths start from. Raises ValueError; its text never
    repeats the URL, which may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in (_MYSQL, _SQLITE):
        raise ValueError("expected mysql://USER:PASSWORD@HOST:PORT/SCHEMA or sqlite:///FILE")
    if scheme == _SQLITE:
        return _sqlite(rest, base=base)
    return _mysql(rest, base=base)


def _sqlite(rest: str, *, base: Path) -> DatabaseUrl:
    path = _part(rest.removeprefix("/"))
    if not rest.startswith("/") or not path or "?" in rest:
        raise ValueError("expected sqlite:///FILE (relative to the configuration file) or sqlite:////FILE")
    return DatabaseUrl(database=str((base / path).resolve()))


def _mysql(rest: str, *, base: Path) -> DatabaseUrl:
    split = _ADDRESS.fullmatch(rest)
    if split is None:
        raise ValueError("a mysql:// URL needs a host and a schema: mysql://USER:PASSWORD@HOST:PORT/SCHEMA")
    user, colon, password = (split["login"] or "").partition(":")
    host, port = _host_and_port(_part(split["server"]))
    return DatabaseUrl(
        host=host,
        port=port,
        database=_part(split["schema"]),
        user=_part(user),
        password=Secret(_part(password)) if colon else None,
        password_is_literal=bool(colon and _VARIABLE.sub("", password)),
        options=_options(split["query"] or "", base=base),
    )


def _host_and_port(server: str) -> tuple[str, int]:
    """Split `host`, `host:port`, `[v6]` or `[v6]:port`."""
    bracketed, _, rest = server.rpartition("]")
    host, _, port = rest.partition(":")
    port = port or str(_MYSQL_PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
        raise ValueError("the port of a mysql:// URL is a number from 1 to 65535")
    return bracketed.removeprefix("[") or host, int(port)


def _options(query: str, *, base: Path) -> dict[str, Option]:
    """Parse the driver's options; numbers and true/false get their own types."""
    options: dict[str, Option] = {}
    for name, raw in parse_qsl(query, keep_blank_values=True):
        value = _option(name, raw)
        if name in _REFUSED_OPTIONS:
            raise ValueError(f"option {name}: {_REFUSED_OPTIONS[name]}")
        if name in _PATH_OPTIONS:
            path = (base / value).absolute()
            if not path.is_file():  # the driver would go on without it
                shown = path if value == raw else raw  # what a variable holds may be a secret
                raise ValueError(f"{name}: there is no file {shown}")
            options[name] = str(path)
        elif name in _LIST_OPTIONS:
            options[name] = value.split(",")
        elif value.lower() in ("true", "false"):
            options[name] = value.lower() == "true"
        else:
            options[name] = int(value) if value.isascii() and value.isdigit() else value
    return options


def _option(name: str, raw: str) -> str:
    """Fill in one option's value. What came from a variable, and any password, is never shown."""
    value = valid_text(fill_in(raw))
    if value != raw or "pass" in name:
        keep_secret(value)
    for variable in _VARIABLE.findall(raw):
        keep_secret(os.environ[variable])
    return value


def check_cluster(proxy: str) -> None:
    """Check how a YT cluster is named: a name, `host:port`, or an http(s) URL with nothing else in it; empty is fine.

    Raises ValueError, which does not repeat what may be a password.
    """
    expected = "expected a cluster's name or the http(s) URL of its proxy"
    if "@" in proxy:
        raise ValueError(f"exclusions.proxy: {expected}, without user and password")
    try:
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"exclusions.proxy: {expected}, not {proxy!r}: {error}") from None
    is_host = len(host) <= _LONGEST_HOST and (":" in host or _HOST.fullmatch(host))
    has_more = parts.path not in {"", "/"} or parts.query or parts.fragment
    if proxy and (parts.scheme not in {"", "http", "https"} or not is_host or port == 0 or has_more):
        raise ValueError(f"exclusions.proxy: {expected}, not {proxy!r}")
