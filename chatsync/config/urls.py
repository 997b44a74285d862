"""Parsing the URLs of databases without ever showing a secret."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from chatsync.config.database_url import DatabaseUrl, Option, Secret
from chatsync.config.option_file import read_option_file
from chatsync.config.variables import VARIABLE, fill_in, fill_in_part, valid_text, value_of
from chatsync.known_secrets import keep_secret

_RICH_PATH = re.compile(r"^\s*<|(?<!\\)[\[{]")  # YTsaurus docs, "YPath": rich paths
_LOGIN_IN_FILE = re.compile(r":/{1,3}[^\s:/@\"']*:(.+)@")
# A password may contain "@", "/" and "?". The parts after it may not, except the values of the query.
_ADDRESS = re.compile(
    r"(?:(?P<login>.*?)@)?(?P<server>[^@/?]+)/(?P<schema>[^@/?]+)(?:\?(?P<query>(?:\w+=.*)?))?", re.DOTALL
)
# A URL without a server must name a socket or an option file in its query.
_LOCAL_ADDRESS = re.compile(r"(?:(?P<login>.*?)@)?(?P<server>)/(?P<schema>[^@/?]+)\?(?P<query>\w+=.*)", re.DOTALL)
_OPTION_FILE = "read_default_file"
_SOCKET = "unix_socket"
_TLS_FILES = ("ssl_ca", "ssl_cert", "ssl_key")
_FILES = (*_TLS_FILES, _OPTION_FILE)
_LIST_OPTIONS = ("tls_versions", "tls_ciphersuites")
# These options would lead to another database or user than the URL shows.
_ADDRESS_OPTIONS = frozenset({
    "host", "port", "user", "password", "passwd", "password1", "password2", "password3",
    "database", "db", "dsn", "dns_srv", "failover", "option_files", "option_groups",
})  # fmt: skip
# With these options the driver returns other values than numbers and texts, or connections that were used before.
_ROW_OPTIONS = frozenset({
    "raw", "use_unicode", "converter_class", "client_flags", "pool_name", "pool_size", "pool_reset_session",
})  # fmt: skip
# With these options a server could read files of this machine.
_FILE_OPTIONS = frozenset({"allow_local_infile", "allow_local_infile_in_path"})
_REFUSED_OPTIONS = {
    **dict.fromkeys(_ADDRESS_OPTIONS, "write it into the URL itself: mysql://USER:PASSWORD@HOST:PORT/SCHEMA"),
    **dict.fromkeys(_ROW_OPTIONS, "chatsync sets how rows are read; remove the option"),
    **dict.fromkeys(_FILE_OPTIONS, "chatsync sends no files; remove the option"),
}
_MYSQL = ("mysql", "mysql+mysqlconnector", "mariadb", "mariadb+mysqlconnector")
_SQLITE = "sqlite"
_MYSQL_PORT = 3306
_MAX_PORT = 65535

_HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?", re.ASCII)
_LONGEST_HOST = 253  # the limit of DNS


def keep_secrets_in(text: str) -> None:
    """Register the passwords of all URLs in the text of a configuration file, in any key."""
    for line in text.splitlines():
        for password in _LOGIN_IN_FILE.findall(line):
            if not VARIABLE.search(password):
                keep_secret(password)
                keep_secret(unquote(password))


def parse_url(url: str, *, base: Path) -> DatabaseUrl:
    """Split `url`, and only then fill in variables, so that a password may hold any character.

    `base` is the folder that relative paths start from. Raises ValueError; its message never
    repeats the URL, which may contain a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in (*_MYSQL, _SQLITE):
        raise ValueError("expected mysql://USER:PASSWORD@HOST:PORT/SCHEMA (also mariadb://) or sqlite:///FILE")
    if scheme == _SQLITE:
        return _sqlite(rest, base=base)
    return _mysql(rest, base=base)


def _sqlite(rest: str, *, base: Path) -> DatabaseUrl:
    path = fill_in_part(rest.removeprefix("/"))
    if not rest.startswith("/") or not path or "?" in rest:
        raise ValueError("expected sqlite:///FILE (relative to the configuration file) or sqlite:////FILE")
    return DatabaseUrl(database=str((base / path).resolve()))


def _mysql(rest: str, *, base: Path) -> DatabaseUrl:
    split = _ADDRESS.fullmatch(rest) or _LOCAL_ADDRESS.fullmatch(rest)
    if split is None:
        raise ValueError("a mysql:// URL needs a host and a schema: mysql://USER:PASSWORD@HOST:PORT/SCHEMA")
    user, colon, password = (split["login"] or "").partition(":")
    if not colon and "/" in user:  # the URL is not shown: it contains the password
        raise ValueError("a mysql:// URL needs a colon after the user: mysql://USER:PASSWORD@HOST:PORT/SCHEMA")
    options = _options(split["query"] or "", base=base)
    file = Path(str(options.pop(_OPTION_FILE))) if _OPTION_FILE in options else None
    defaults = read_option_file(file) if file else {}
    if not colon and "password" in defaults:
        secret: Secret | None = Secret(valid_text(defaults["password"]))
    else:
        secret, file = Secret(fill_in_part(password)) if colon else None, None
    host, port, socket = _place(split["server"], str(options.pop(_SOCKET, "")), defaults)
    options = {**(_tls_of(defaults) if host else {}), **options}
    _check_login(options, is_local=not host)
    return DatabaseUrl(
        host=host,
        port=port,
        unix_socket=socket,
        database=fill_in_part(split["schema"]),
        user=fill_in_part(user) or valid_text(defaults.get("user", "")),
        password=secret,
        password_is_literal=bool(colon and VARIABLE.sub("", password)),
        option_file=file,
        options=options,
    )


def _check_login(options: Mapping[str, Option], *, is_local: bool) -> None:
    """Refuse options that would send the login or the password without the TLS that is asked for."""
    if "ssl_ca" in options:
        for name, value in (("ssl_disabled", True), ("ssl_verify_cert", False)):
            if options.get(name) is value:
                raise ValueError(f"option {name}: ssl_ca asks for TLS with a server of this authority; remove one")
    is_verified = "ssl_ca" in options and options.get("ssl_verify_identity") is not False
    if options.get("auth_plugin") == "mysql_clear_password" and not (is_verified or is_local):
        raise ValueError("option auth_plugin: mysql_clear_password sends the password as it is; add ssl_ca=FILE")


def _place(server: str, socket: str, defaults: Mapping[str, str]) -> tuple[str, int, str]:
    """Return host, port and socket; those of an option file are used only if the URL has none."""
    if server and socket:
        raise ValueError(f"option {_SOCKET}: a socket takes the place of the host: mysql:///SCHEMA?{_SOCKET}=FILE")
    if not server and not socket:
        server, socket = defaults.get("host", ""), defaults.get("socket", "")
        if not server and not socket:
            raise ValueError(f"a mysql:// URL without a host needs {_SOCKET}=FILE")
        if server:
            return *_host_and_port(f"[{server}]:{defaults.get('port', _MYSQL_PORT)}"), ""
    if socket:
        return "", 0, socket
    return *_host_and_port(fill_in_part(server)), ""


def _tls_of(defaults: Mapping[str, str]) -> dict[str, Option]:
    """Return the TLS options of an option file under the driver's names; other options are for other programs."""
    return {name: str(Path(defaults[name]).expanduser()) for name in _TLS_FILES if defaults.get(name)}


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
        if name == _SOCKET:  # the file may be missing while its server is down
            options[name] = str((base / value).absolute())
        elif name in _FILES:
            path = (base / Path(value).expanduser()).absolute()
            if not path.is_file():  # the driver would ignore that
                shown = path if value == raw else raw  # the value of a variable may be a secret
                raise ValueError(f"option {name}: there is no file {shown}")
            options[name] = str(path)
        elif name in _LIST_OPTIONS:
            options[name] = value.split(",")
        elif value.lower() in ("true", "false"):
            options[name] = value.lower() == "true"
        else:
            options[name] = int(value) if value.isascii() and value.isdigit() else value
    return options


def _option(name: str, raw: str) -> str:
    """Fill in one option's value. Values of variables and passwords are never shown."""
    value = valid_text(fill_in(raw))
    if value != raw or "pass" in name:
        keep_secret(value)
    for variable in VARIABLE.findall(raw):
        keep_secret(value_of(variable))
    return value


def check_cluster(proxy: str) -> None:
    """Check the address of a YT cluster: a name, `host:port`, or an http(s) URL without other parts; empty is valid.

    Raises ValueError; its message does not repeat what may be a password.
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


def check_table_path(path: str, *, key: str) -> None:
    """Raise ValueError for more than a path: lock, row count and read are about the whole table."""
    if _RICH_PATH.search(path):
        raise ValueError(f"{key}: expected only the path of a table, without attributes, columns or row ranges")
