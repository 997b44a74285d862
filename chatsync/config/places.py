"""Where the configuration file is."""

import os
from pathlib import Path

from chatsync.errors import ConfigError

ENVIRONMENT_VARIABLE = "CHATSYNC_CONFIG"
_FILE = Path("chatsync.toml")


def default_places() -> tuple[Path, ...]:
    """Return the default paths of the configuration: in this folder, the user's, and the system's."""
    return _FILE, _users_folder() / "chatsync" / _FILE, Path("/etc/chatsync") / _FILE


def _users_folder() -> Path:
    """Return the user's configuration folder (XDG Base Directory Specification); a relative path is ignored."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(folder if os.path.isabs(folder) else os.path.expanduser("~/.config"))  # noqa: PTH111, PTH117  # never raise


def find_config(option: Path | None) -> Path:
    """Return the file to read: from the option, from $CHATSYNC_CONFIG, or the first default path that exists."""
    named = option or (Path(os.environ[ENVIRONMENT_VARIABLE]) if os.environ.get(ENVIRONMENT_VARIABLE) else None)
    if named:
        return named
    places = default_places()
    for place in places:
        try:
            place.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            if isinstance(error, PermissionError) and place.is_relative_to(_users_folder()):
                continue  # $HOME is that of another user, as under sudo
            raise ConfigError(f"configuration {place}: {error.strerror}") from None
        return place
    raise ConfigError(
        f"no configuration file: none of {', '.join(map(str, places))} exists; "
        f"name one with -c FILE or ${ENVIRONMENT_VARIABLE}, or start from `chatsync config example`"
    )
