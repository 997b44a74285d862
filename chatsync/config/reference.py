"""All keys with defaults and descriptions (from settings.py), an example file made from them, and the values in use."""

import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from urllib.parse import quote

import msgspec

from chatsync.config.database_url import DatabaseUrl
from chatsync.config.durations import Seconds
from chatsync.config.settings import Databases, File, Section, Settings

REQUIRED = object()

# Values for the example that are not defaults: required keys, and keys that are rarely left out.
_EXAMPLES = {
    "exclusions.proxy": '"hahn"',
    "exclusions.path": '"//home/oobp/public/clients_chat_exclusion"',
    "databases.dict": '"mysql://ppcdict.example:3306/ppcdict?read_default_file=~/.my.cnf"',
    "records.dir": '"/var/lib/chatsync/records"',
}
_SHARDS = {
    "shards": "mysql://ppc{}.example:3306/ppc?read_default_file=~/.my.cnf",
    "replicas": "mysql://ppc{}-replica.example:3306/ppc?read_default_file=~/.my.cnf",
}
_WIDTH = 100


def sections() -> dict[str, type[Section]]:
    """Return the sections of the configuration file by name, in the order of the code."""
    return get_type_hints(File)


def keys(section: type[Section]) -> Iterator[tuple[str, Any, str]]:
    """Return each key of a section with its default (or REQUIRED) and its description."""
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
        yield field.name, REQUIRED if value is msgspec.NODEFAULT else value, _description(hints[field.name])


def _description(hint: Any) -> str:
    """Return the description of a key in settings.py; empty if it has none."""
    texts = [extra for extra in get_args(hint)[1:] if isinstance(extra, str)] if get_origin(hint) is Annotated else []
    return " ".join(texts)


def in_toml(value: Any) -> str:
    """Format a value as it is written in the file; empty if it is not set."""
    if value is None or value == "" or value is REQUIRED:
        return ""
    if isinstance(value, Seconds):
        return f'"{duration(value)}"'
    if isinstance(value, float):
        return f"{value:.15g}"
    if value in ((), dict) or value == {}:
        return "[]" if value == () else "{}"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return f"[{', '.join(map(in_toml, value))}]" if isinstance(value, list | tuple) else str(value).lower()


def duration(value: Seconds) -> str:
    """Format a duration in the largest unit that divides it."""
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60)):
        if value >= seconds and not value % seconds:
            return f"{value / seconds:.0f}{unit}"
    return f"{float(value):f}".rstrip("0").rstrip(".") + "s"


def example() -> str:
    """Return an example configuration with all keys. Keys that need not be set are commented out."""
    lines = [
        "# The configuration of chatsync: all keys. A key that is commented out has the default that is shown, or is",
        "# not set. `chatsync config show` prints the values in use, `chatsync doctor` checks them.",
    ]
    for name, section in sections().items():
        lines += ["", *_comment(section.__doc__ or ""), f"[{name}]"]
        for key, default, about in keys(section):
            if key not in _SHARDS:
                value = _EXAMPLES.get(f"{name}.{key}")
                lines += [*_comment(about), f"{key} = {value}" if value else f"# {key} = {in_toml(default)}".rstrip()]
        lines += _example_of_shards(section)
    return "\n".join(lines) + "\n"


def _example_of_shards(section: type[Section]) -> Iterator[str]:
    for key, default, about in keys(section):
        if key in _SHARDS:
            off = "" if default is REQUIRED else "# "
            yield from ("", *_comment(about), f"{off}[databases.{key}]")
            yield from (f'{off}{shard} = "{_SHARDS[key].format(shard)}"' for shard in (1, 2))


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ")


def in_force(settings: Settings) -> str:
    """Return the configuration in use: defaults and variables filled in, paths absolute, secrets hidden."""
    lines = [f"# {settings.path.absolute()}"]
    for name, section in sections().items():
        lines += ["", f"[{name}]"]
        values = getattr(settings, name)
        if isinstance(values, Databases):
            lines += _databases_in_force(values)
            continue
        for key, default, _ in keys(section):
            value = getattr(values, key)
            if text := in_toml(value):
                lines.append(f"{key} = {text}{'  # default' if value == default else ''}")
    return "\n".join(lines) + "\n"


def _databases_in_force(databases: Databases) -> Iterator[str]:
    yield f"dict = {in_toml(_url(databases.dict))}"
    for key in _SHARDS:
        if urls := getattr(databases, key):
            yield from ("", f"[databases.{key}]")
            yield from (f"{shard} = {in_toml(_url(url))}" for shard, url in urls.items())


def _url(url: DatabaseUrl) -> str:
    """Return a URL with its options, and with its password as `***`."""
    if url.is_sqlite:
        return f"sqlite:///{url.database}"
    login = quote(url.user, safe="") + (f":{url.password}" if url.password else "")
    options = {name: _option(value) for name, value in url.options.items()}
    if url.unix_socket:
        options = {"unix_socket": url.unix_socket, **options}
    host = f"[{url.host}]" if ":" in url.host else url.host
    place = f"{host}:{url.port}" if host else ""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"mysql://{login}{'@' if login else ''}{place}/{url.database}{'?' if query else ''}{query}"


def _option(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
