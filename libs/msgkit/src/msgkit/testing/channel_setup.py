"""Connects channels of a test system, as the tenants' administrators and Meta's App Dashboard would."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from msgkit.testing import demo
from msgkit.testing.processes import ServerFailed

PATHS = {
    "telegram_bot": "",
    "viber_bot": "/viber",
    "whatsapp": "/graph",
    "facebook": "/graph-meta",
    "instagram": "/graph-meta",
}
"""Where below the sandbox's address each kind's API begins."""
INSTAGRAM_LOGIN_PATH = "/graph-instagram"
"""For an Instagram account without a page."""
_POLL_S = 0.05

Json = dict[str, Any]


class ChannelSetup:
    """The gateway and the sandbox of one system.

    Args:
        gateway_url, sandbox_url: without a slash at the end.
        within_s: how long the gateway may take to hear of a connector, in seconds.
    """

    def __init__(self, gateway_url: str, sandbox_url: str, within_s: float) -> None:
        self._gateway_url = gateway_url
        self._sandbox_url = sandbox_url
        self._within_s = within_s

    def connect(
        self,
        tenant: str,
        kind: str,
        credentials: str | Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        *,
        path: str | None = None,
    ) -> Json:
        """As `System.connect_channel`."""
        given = {"token": credentials} if isinstance(credentials, str) else dict(credentials)
        admin = next(a for a in demo.ACCOUNTS if a.tenant == tenant and "admin" in a.roles)
        name = {"login": admin.login, "password": admin.password}
        login = _send("POST", f"{self._gateway_url}/api/v1/auth/login", name)
        order = {
            "kind": kind,
            "title": f"{kind.partition('_')[0].title()} {tenant}",
            "credentials": given,
            "api_base": self._sandbox_url + (PATHS[kind] if path is None else path),
            "settings": {"roles": ["admin", "reception"], **(settings or {})},
        }
        deadline = time.monotonic() + self._within_s
        while True:  # the gateway learns of connectors from their announcements
            try:
                return _send("POST", f"{self._gateway_url}/api/v1/channels", order, login["access_token"])
            except urllib.error.HTTPError as exc:
                problem = exc.read().decode(errors="replace")
                not_yet = exc.code >= 500 or '"unknown_kind"' in problem
                if not not_yet or time.monotonic() > deadline:
                    raise ServerFailed(f"the channel of {tenant} was refused: {exc.code} {problem}") from exc
                time.sleep(_POLL_S)

    def connect_whatsapp(self, service_url: str) -> Json:
        """The salon's number."""
        number = demo.WHATSAPP_NUMBER
        credentials = {
            "phone_number_id": number["phone_number_id"],
            "waba_id": number["waba_id"],
            "access_token": number["token"],
        }
        dashboard = f"whatsapp/{number['phone_number_id']}"
        return self._connect_behind_app("salon", "whatsapp", service_url, dashboard, credentials)

    def connect_page(self, service_url: str) -> Json:
        """The salon's page."""
        dashboard = f"meta/{demo.PAGE['page_id']}"
        return self._connect_behind_app("salon", "facebook", service_url, dashboard, _of_page())

    def connect_instagram(self, service_url: str) -> Json:
        """The salon's account, through its page."""
        dashboard = f"meta/{demo.INSTAGRAM['ig_id']}"
        return self._connect_behind_app("salon", "instagram", service_url, dashboard, _of_page())

    def connect_instagram_by_login(self, service_url: str) -> Json:
        """The clinic's account, which has no page."""
        dashboard = f"meta/{demo.INSTAGRAM_BY_LOGIN['ig_id']}"
        own = {"access_token": demo.INSTAGRAM_BY_LOGIN["token"]}
        return self._connect_behind_app(
            "clinic", "instagram", service_url, dashboard, own, INSTAGRAM_LOGIN_PATH
        )

    def _connect_behind_app(
        self,
        tenant: str,
        kind: str,
        service_url: str,
        dashboard: str,
        credentials: Mapping[str, Any],
        path: str | None = None,
    ) -> Json:
        """An account behind the callback of its app, which names no channel."""
        control = f"{self._sandbox_url}/control/{dashboard}"
        _send("PUT", control, {"callback_url": f"{service_url}/webhooks/{kind}"})
        channel = self.connect(tenant, kind, credentials, path=path)
        _send("PUT", control, {"channel_id": channel["id"]})
        return channel


def _of_page() -> Json:
    return {"page_id": demo.PAGE["page_id"], "access_token": demo.PAGE["token"]}


def _send(method: str, url: str, body: Mapping[str, Any], token: str = "") -> Json:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - our own loopback address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        loaded: Json = json.load(answer)
        return loaded
