"""The YTsaurus client as this program uses it: its configuration and its token.

The client's own configuration is used (`YT_*` variables, ~/.yt/config), except for the settings that this program
depends on: timeouts, retries and formats.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import yt.logger
import yt.wrapper
from yt.common import update_inplace
from yt.wrapper.default_config import update_config_from_env
from yt.wrapper.http_helpers import get_proxy_address_url

from chatsync.config.settings import Exclusions
from chatsync.config.urls import check_cluster
from chatsync.errors import ConfigError
from chatsync.ytsaurus import client_configuration
from chatsync.ytsaurus.session import READ_BUFFER, watch_session
from chatsync.ytsaurus.token import find_token

# The client's own retries have no total time limit; ours are around whole steps and have one.
_NO_RETRIES = {"enable": False, "count": 1}
_OURS: Mapping[str, Any] = {
    "backend": "http",
    "api_version": "v4",  # its `lock` returns the id of the locked node
    "apply_remote_patch_at_start": None,  # one more request, which may hang for a whole timeout
    "ping_failed_mode": "pass",  # the default raises KeyboardInterrupt in the main thread
    "transaction_sleep_period": 20,
    "read_buffer_size": READ_BUFFER,
    "structured_data_format": None,
    # One request for all rows, so that they need no memory; what fails is a warning, and the next run writes again.
    "write_retries": _NO_RETRIES,
    "write_parallel": {"enable": False},
    "write_progress_bar": {"enable": False},
    "check_token": False,
    "allow_receive_token_by_current_ssh_session": False,
    "proxy": {
        "retries": _NO_RETRIES,
        "connect_timeout": 5_000,  # these three in milliseconds, for each read of the socket
        "request_timeout": 20_000,
        "heavy_request_timeout": 30_000,
        "content_encoding": "identity",
        "accept_encoding": "identity",  # ids in text shrink to a half, and unpacking costs ten times the reading
        "commands_with_framing": [],  # keep-alive frames would keep a stuck read alive forever
        "header_format": "yson",
        "check_response_format": True,
    },
}

logger = logging.getLogger(__name__)


class Cluster:
    """The cluster in exclusions.proxy, and a client for it that only one thread may use."""

    def __init__(self, section: Exclusions) -> None:
        """Combine the client's configuration with ours; nothing is sent yet.

        Raises ConfigError for a proxy or a configuration of the client that can't be used, and
        SourceError for a token that can't be read.
        """
        self.token, self.token_place = find_token(section)
        self.client = _new_client(section, self.token)
        self._session = watch_session(self.client)
        proxy = self.client.config["proxy"]["url"]
        self.url = _proxy_url(proxy, self.client)
        self.netloc = urlsplit(self.url).netloc
        self.name = proxy.removeprefix("http://").removeprefix("https://").rstrip("/")

    def place(self, path: str) -> str:
        """Return the name of a table for messages: `hahn://home/...`."""
        return f"{self.name}:{path}"

    @property
    def rows_host(self) -> str:
        """The host that was asked for rows: a heavy proxy, if the cluster has named one; empty before a read."""
        return self._session.streamed_from

    @property
    def sends_token_openly(self) -> bool:
        """Whether the token is sent over plain HTTP to another machine."""
        parts = urlsplit(self.url)
        is_here = (parts.hostname or "").startswith("127.") or parts.hostname in {"localhost", "::1"}
        return bool(self.token) and parts.scheme == "http" and not is_here

    @property
    def open_token_warning(self) -> str:
        """The warning for a token that is sent unencrypted."""
        return f"the YT token is sent to {self.url} over plain http, so others can read it; use https if possible"


def _new_client(section: Exclusions, token: str) -> yt.wrapper.YtClient:
    """Make a client with the configuration of the `yt` tool, overridden by ours."""
    # At once: a client that may ask for a remote patch makes a second client as soon as it looks for heavy proxies.
    client = yt.wrapper.YtClient(config={"apply_remote_patch_at_start": None})
    with client_configuration():
        update_config_from_env(client.config)
        update_inplace(client.config, {**_OURS, "enable_token": bool(token), "token": token or None})
    if section.proxy:
        client.config["proxy"]["url"] = section.proxy
    if section.use_hosts is not None:
        client.config["proxy"]["enable_proxy_discovery"] = section.use_hosts
    return client


def _proxy_url(proxy: str | None, client: yt.wrapper.YtClient) -> str:
    """Return the URL of the proxy, with a cluster's name expanded as the client does it."""
    if not proxy:
        raise ConfigError("exclusions.proxy is missing", way_out="set it, or $YT_PROXY, or proxy/url in ~/.yt/config")
    try:
        check_cluster(proxy)
        return str(get_proxy_address_url(client=client))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def quiet_the_client() -> None:
    """Send the client's log to our log; without this it writes to standard error.

    Every failure is also raised, and reported by us on one line. The client's own messages, including
    tracebacks of pings that are no longer needed, are shown only at the debug level.
    """
    yt.logger.LOGGER.handlers[:] = []
    yt.logger.LOGGER.parent = logger
    yt.logger.LOGGER.propagate = True
    yt.logger.LOGGER.setLevel(logging.DEBUG if logger.isEnabledFor(logging.DEBUG) else logging.CRITICAL)
