"""The demo: connects each tenant's bots of the sandbox through the gateway's API and writes demo.json."""

from __future__ import annotations

import http
import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any

from bootstrap import Problem, say
from demo_channels import DemoChannel, channels_of
from demo_people import TENANTS, USERS, Tenant, User, as_login
from msgkit.testing.processes import write_private
from state import STATE, Ports, Secrets

DEMO_FILE = STATE / "demo.json"
_CONNECTOR_DEADLINE_SECONDS = 30


class Refused(Problem):
    """A call was answered with an error.

    Args:
        status: of the answer.
    """

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


def prepare(ports: Ports, secrets: Secrets) -> None:
    """Connects what is not connected yet, and writes demo.json; a second time it changes nothing."""
    gateway, sandbox = f"http://127.0.0.1:{ports.public(0)}", f"http://127.0.0.1:{ports.public(10)}"
    channels = []
    for tenant in TENANTS:
        bearer = {"Authorization": f"Bearer {_login(gateway, _admin_of(tenant), secrets)}"}
        for planned in channels_of(tenant, secrets):
            webhooks = f"http://127.0.0.1:{ports.public(planned.public)}/"
            channels.append(_connected(tenant, planned, gateway, sandbox, webhooks, bearer))
    demo = {
        "gateway": gateway,
        "sandbox": sandbox,
        "users": [as_login(user, secrets) for user in USERS],
        "channels": channels,
    }
    write_private(DEMO_FILE, json.dumps(demo, ensure_ascii=False, indent=1) + "\n")


def print_addresses() -> None:
    """What a person needs to try it."""
    demo = json.loads(DEMO_FILE.read_text())
    say(f"\nChat window   {demo['gateway']}")
    say(f"Phone page    {demo['sandbox']}   (write as a client, see the answer)")
    say(f"API           {demo['gateway']}/docs")
    say("Logins        " + "\n              ".join(_login_line(user) for user in demo["users"]))
    say(f"All of it     {DEMO_FILE.relative_to(STATE.parent)}")


def _connected(
    tenant: Tenant, planned: DemoChannel, gateway: str, sandbox: str, webhooks: str, bearer: dict[str, str]
) -> dict[str, object]:
    known = _call("GET", f"{gateway}/api/v1/channels", None, bearer)
    channel = next((each for each in known if each["kind"] == planned.kind), None)
    _wait_for_connector(planned, gateway, bearer)
    dashboard = planned.callback and f"{sandbox}/control/{planned.callback.dashboard}"
    if dashboard and planned.callback:
        # What the vendor does once in Meta's App Dashboard; a callback has to pass its handshake.
        _call("PUT", dashboard, {"callback_url": webhooks + planned.callback.path}, {})
    if channel is not None and not channel["webhook_url"].startswith(webhooks):
        say(f"{channel['title']}: the ports moved, connecting it anew (a new channel; old dialogues stay).")
        remove_channel(f"{gateway}/api/v1/channels/{channel['id']}", bearer)
        channel = None
    if channel is None:
        order = {
            "kind": planned.kind,
            "title": planned.title,
            "credentials": planned.credentials,
            "api_base": sandbox + planned.api_path,
            "settings": {"roles": planned.roles, "welcome": planned.welcome},
        }
        channel = _call("POST", f"{gateway}/api/v1/channels", order, bearer)
    if dashboard:
        # An app's callback names no channel: the control API learns here what this account is called.
        _call("PUT", dashboard, {"channel_id": channel["id"]}, {})
    webhook = _call("GET", f"{sandbox}/control/{channel['id']}/webhook", None, {})
    return {
        "id": channel["id"],
        "kind": planned.kind,
        "title": channel["title"],
        "tenant": tenant.id,
        "webhook_url": webhook["url"],
        "signing": planned.what_signs(webhook),
    }


def remove_channel(url: str, bearer: dict[str, str]) -> None:
    """Removes the channel at this address.

    Raises:
        Problem: it is refused, or its connector is away for longer than one takes to announce itself.
    """
    deadline = time.monotonic() + _CONNECTOR_DEADLINE_SECONDS
    while True:
        try:
            _call("DELETE", url, None, bearer)
        except Refused as exc:
            # Known since before the ports moved: its address is the old one until it announces the new.
            if exc.status != http.HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _wait_for_connector(planned: DemoChannel, gateway: str, bearer: dict[str, str]) -> None:
    """A connector announces itself over the bus a moment after it is ready."""
    deadline = time.monotonic() + _CONNECTOR_DEADLINE_SECONDS
    while True:
        kinds = _call("GET", f"{gateway}/api/v1/channel-kinds", None, bearer)
        if any(each["kind"] == planned.kind and each["available"] for each in kinds):
            return
        if time.monotonic() > deadline:
            raise Problem(
                f"The gateway hears no connector for {planned.kind} after {_CONNECTOR_DEADLINE_SECONDS} s. "
                f"See make logs S={planned.service} and make logs S=gateway"
            )
        time.sleep(0.2)


def _admin_of(tenant: Tenant) -> User:
    return next(user for user in USERS if user.tenant == tenant.id and "admin" in user.roles)


def _login(gateway: str, user: User, secrets: Secrets) -> str:
    body = {"login": user.login, "password": secrets.values[f"PASSWORD_{user.login}"]}
    return str(_call("POST", f"{gateway}/api/v1/auth/login", body, {})["access_token"])


def _call(method: str, url: str, body: object, headers: dict[str, str]) -> Any:
    """One JSON call; the answer of a refusal is in the Problem, our credentials are not."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - our own addresses
        url, data, {"Content-Type": "application/json", **headers}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError as exc:
        with exc:
            words = exc.read(1000).decode(errors="replace")
        raise Refused(
            f"The demo cannot be prepared: {method} {url} answers {exc.code} {words}\n"
            "See make logs S=gateway; a fresh start with an empty system: make reset && make up",
            exc.code,
        ) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise Problem(f"The demo cannot be prepared: {method} {url}: {exc}. See make logs S=gateway") from exc


def _login_line(user: dict[str, Any]) -> str:
    roles = ", ".join(user["roles"]) or "no access"
    return f"{user['login']:<8} {user['password']:<14} {user['tenant']}: {user['name']} ({roles})"
