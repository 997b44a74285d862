"""Passive events for Juggler, and sending them to the agent on this machine.

A client posts `{"source": …, "events": [{"host", "service", "instance", "status", "description"}]}`
to the agent; `status` is OK, WARN or CRIT. The answer holds one `{"code", "message"}` for each event
under `events`, and 200 says that the event was taken. Source: the client in the open code of
YTsaurus, yt/odin/lib/yt_odin/odinserver (alerts.py for an event, juggler_client.py for the answer).
"""

import http.client
import json
import socket
import urllib.error
import urllib.request
from typing import Any

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Monitoring
from chatsync.errors import CheckStatus, PushError
from chatsync.monitoring.verdict import Finding
from chatsync.redaction import values_without_secrets

# There is no status for "unknown"; a warning is visible, but does not wake anyone.
_STATUS = {
    CheckStatus.OK: "OK",
    CheckStatus.WARNING: "WARN",
    CheckStatus.CRITICAL: "CRIT",
    CheckStatus.UNKNOWN: "WARN",
}
_ATTEMPT_SECONDS = 10
_PUSH_SECONDS = 30.0
_TAKEN = 200
_BUSY = 429
_SERVER_ERROR = 500


def batch(finding: Finding, section: Monitoring) -> dict[str, Any]:
    """Make the document that an agent takes: one event."""
    unknown = "unknown: " if finding.status is CheckStatus.UNKNOWN else ""
    event = {
        "host": section.host or socket.gethostname(),
        "service": section.service,
        "instance": "",
        "status": _STATUS[finding.status],
        "description": unknown + finding.message,
    }
    return {"source": "chatsync", "events": [event]}


def push(document: dict[str, Any], url: str) -> None:
    """Post a batch of events, with retries for half a minute. Raises PushError.

    It has a new deadline, because that of the command may have passed.
    """
    scope = CancelScope(deadline=2 * _PUSH_SECONDS, retry_timeout=_PUSH_SECONDS)
    body = json.dumps(values_without_secrets(document)).encode()
    try:
        answer = scope.retry(lambda: _post(body, url), what=f"push to {url}", is_transient=_is_transient)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        msg = f"cannot push the event to {url}: {error}; is the agent running there?"
        raise PushError(msg) from None
    refused = [event for event in _events(answer) if event.get("code", _TAKEN) != _TAKEN]
    if refused:
        msg = f"{url} refused the event: {refused[0].get('message')} (code {refused[0].get('code')})"
        raise PushError(msg)


def _post(body: bytes, url: str) -> bytes:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310  # checked by the option
    # Without proxies: the agent is on this machine or near it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_ATTEMPT_SECONDS) as response:
        return bytes(response.read())


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code == _BUSY or error.code >= _SERVER_ERROR
    return isinstance(error, OSError)


def _events(answer: bytes) -> list[dict[str, Any]]:
    """Read the answer's list of events; it is empty for an answer of another kind."""
    try:
        document = json.loads(answer)
    except ValueError:
        return []
    events = document.get("events") if isinstance(document, dict) else None
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
