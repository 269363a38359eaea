"""The demo: connects each tenant's bots of the sandbox through the gateway's API and writes demo.json."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap import Problem, say
from demo_people import TENANTS, USERS, Tenant, User, as_login
from msgkit.testing.processes import write_private
from roster import SANDBOX_PATHS
from state import STATE, Ports, Secrets

DEMO_FILE = STATE / "demo.json"
_CONNECTOR_DEADLINE_SECONDS = 30
_WELCOME = "Вітаємо! Напишіть, на яку послугу й коли вас записати, або натисніть кнопку."

_WHATSAPP = "whatsapp"


@dataclass(frozen=True)
class _Messenger:
    """One messenger of the demo, as the sandbox plays it."""

    kind: str
    service: str
    public: int
    """Offset of the port its webhooks come to."""
    token: str
    """Which secret is a tenant's bot there: `BOT_TOKEN` of `BOT_TOKEN_salon`; who has none has no channel."""
    title: str
    roles: tuple[str, ...]
    welcome: Mapping[str, object]


_MESSENGERS = (
    _Messenger("telegram_bot", "ingest-telegram", 1, "BOT_TOKEN", "{}", ("admin", "reception"), {}),
    _Messenger(
        "viber_bot",
        "ingest-viber",
        2,
        "VIBER_TOKEN",
        "{} у Viber",
        ("admin", "reception", "viber-only"),
        {"text": _WELCOME, "buttons": [{"text": "Записатися", "value": "Хочу записатися"}]},
    ),
    _Messenger(
        _WHATSAPP, "ingest-whatsapp", 4, "WHATSAPP_TOKEN", "WhatsApp салону", ("admin", "reception"), {}
    ),
)


def prepare(ports: Ports, secrets: Secrets) -> None:
    """Connects what is not connected yet, and writes demo.json; a second time it changes nothing."""
    gateway, sandbox = f"http://127.0.0.1:{ports.public(0)}", f"http://127.0.0.1:{ports.public(10)}"
    channels = []
    for tenant in TENANTS:
        bearer = {"Authorization": f"Bearer {_login(gateway, _admin_of(tenant), secrets)}"}
        for messenger in _MESSENGERS:
            token = secrets.values.get(f"{messenger.token}_{tenant.id}")
            if token is not None:
                webhooks = f"http://127.0.0.1:{ports.public(messenger.public)}/"
                channel = _connected(tenant, messenger, token, gateway, sandbox, webhooks, bearer)
                channels.append(channel)
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
    tenant: Tenant,
    messenger: _Messenger,
    token: str,
    gateway: str,
    sandbox: str,
    webhooks: str,
    bearer: dict[str, str],
) -> dict[str, object]:
    known = _call("GET", f"{gateway}/api/v1/channels", None, bearer)
    channel = next((each for each in known if each["kind"] == messenger.kind), None)
    _wait_for_connector(messenger, gateway, bearer)
    if messenger.kind == _WHATSAPP:
        _save_callback(tenant, sandbox, {"callback_url": f"{webhooks}webhooks/whatsapp"})
    if channel is not None and not channel["webhook_url"].startswith(webhooks):
        say(f"{channel['title']}: the ports moved, connecting it anew (a new channel; old dialogues stay).")
        _call("DELETE", f"{gateway}/api/v1/channels/{channel['id']}", None, bearer)
        channel = None
    if channel is None:
        order = {
            "kind": messenger.kind,
            "title": messenger.title.format(tenant.title),
            "credentials": _credentials(tenant, messenger, token),
            "api_base": sandbox + SANDBOX_PATHS[messenger.service],
            "settings": {"roles": messenger.roles, "welcome": messenger.welcome},
        }
        channel = _call("POST", f"{gateway}/api/v1/channels", order, bearer)
    if messenger.kind == _WHATSAPP:
        # An app's callback names no channel: the control API learns here what this number is called.
        _save_callback(tenant, sandbox, {"channel_id": channel["id"]})
    webhook = _call("GET", f"{sandbox}/control/{channel['id']}/webhook", None, {})
    return {
        "id": channel["id"],
        "kind": messenger.kind,
        "title": channel["title"],
        "tenant": tenant.id,
        "webhook_url": webhook["url"],
        "signing": _signing(messenger.kind, token, webhook),
    }


def _signing(kind: str, token: str, webhook: dict[str, Any]) -> dict[str, str]:
    """What whoever plays the messenger needs for its webhooks to be believed."""
    if kind == "telegram_bot":
        return {"header": "X-Telegram-Bot-Api-Secret-Token", "secret_token": webhook["secret_token"]}
    if kind == _WHATSAPP:
        return {
            "header": "X-Hub-Signature-256",
            "algorithm": "sha256= and hmac-sha256, hex, of the body",
            **{name: webhook[name] for name in ("app_secret", "verify_token", "phone_number_id", "waba_id")},
        }
    return {"header": "X-Viber-Content-Signature", "algorithm": "hmac-sha256, hex, of the body", "key": token}


def _credentials(tenant: Tenant, messenger: _Messenger, token: str) -> dict[str, str]:
    """What the administrator would type in."""
    if messenger.kind != _WHATSAPP:
        return {"token": token}
    number = tenant.whatsapp
    assert number is not None
    return {
        "phone_number_id": number.phone_number_id,
        "waba_id": number.waba_id,
        "access_token": token,
    }


def _save_callback(tenant: Tenant, sandbox: str, settings: Mapping[str, str]) -> None:
    """What the vendor does once in Meta's App Dashboard; a callback has to pass its handshake."""
    assert tenant.whatsapp is not None
    _call("PUT", f"{sandbox}/control/whatsapp/{tenant.whatsapp.phone_number_id}", settings, {})


def _wait_for_connector(messenger: _Messenger, gateway: str, bearer: dict[str, str]) -> None:
    """A connector announces itself over the bus a moment after it is ready."""
    deadline = time.monotonic() + _CONNECTOR_DEADLINE_SECONDS
    while True:
        kinds = _call("GET", f"{gateway}/api/v1/channel-kinds", None, bearer)
        if any(each["kind"] == messenger.kind and each["available"] for each in kinds):
            return
        if time.monotonic() > deadline:
            raise Problem(
                f"The gateway hears no connector for {messenger.kind} after {_CONNECTOR_DEADLINE_SECONDS} s. "
                f"See make logs S={messenger.service} and make logs S=gateway"
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
        raise Problem(
            f"The demo cannot be prepared: {method} {url} answers {exc.code} {words}\n"
            "See make logs S=gateway; a fresh start with an empty system: make reset && make up"
        ) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise Problem(f"The demo cannot be prepared: {method} {url}: {exc}. See make logs S=gateway") from exc


def _login_line(user: dict[str, Any]) -> str:
    roles = ", ".join(user["roles"]) or "no access"
    return f"{user['login']:<8} {user['password']:<14} {user['tenant']}: {user['name']} ({roles})"
