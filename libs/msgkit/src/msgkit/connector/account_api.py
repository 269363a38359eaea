"""Connecting accounts: the internal routes gateway calls, and what each step does.

Nothing is stored before the messenger has said that the credentials work.
"""

import secrets
from collections.abc import Awaitable, Collection
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends

from msgkit.connector.accounts import AccountStore, AlreadyConnected
from msgkit.connector.contract import Account, Connector
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.send_store import SendStore
from msgkit.contracts.internal_api import AccountHealth, AccountProbe, ConnectAccount
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger, register_secret
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import Caller, ServiceTokens, caller_dependency

log = get_logger(__name__)

_SECRET_BYTES = 32
_HINT_CHARS = 4
_HINT_MIN_CHARS = 12
"""A shorter secret shows nothing of itself."""
CREDENTIAL_MAX_CHARS = 4096

T = TypeVar("T")


class AccountDesk:
    """The steps of connecting, checking and removing an account."""

    def __init__(
        self,
        *,
        connector: Connector[Any],
        accounts: AccountStore,
        sends: SendStore,
        public_url: str,
        api_bases: Collection[str],
        clock: Clock = utc_now,
    ) -> None:
        self._connector = connector
        self._kind = connector.manifest.kind
        self._accounts = accounts
        self._sends = sends
        self._public_url = public_url.rstrip("/")
        self._api_bases = {base.rstrip("/") for base in api_bases}
        self._clock = clock

    def webhook_url(self, channel_id: str) -> str:
        return f"{self._public_url}/webhooks/{self._kind}/{channel_id}"

    async def connect(self, channel_id: str, order: ConnectAccount) -> AccountProbe:
        """Step 1: ask the messenger, then store the account. Repeating it changes nothing.

        Raises:
            Problem: 409 if another channel has this account, 422 with the messenger's reason.
        """
        credentials = self._checked_credentials(order)
        for value in credentials.values():
            register_secret(value)
        known = await self._accounts.load(channel_id)
        if known is not None and known.tenant_id != order.tenant_id:
            raise _already_connected()
        draft = Account(
            channel_id=channel_id,
            tenant_id=order.tenant_id,
            kind=self._kind,
            account_id="",
            account_name=None,
            api_base=self._checked_base(order.api_base),
            state="pending" if known is None or known.state == "disconnected" else known.state,
            problem=None,
            paused_until=None,
            credentials=credentials,
            webhook_secret=secrets.token_urlsafe(_SECRET_BYTES) if known is None else known.webhook_secret,
        )
        identity = await _asked(self._connector.probe(draft))
        if known is not None and known.account_id != identity.account_id:
            raise Problem(
                409,
                "other_account",
                "Ці ключі належать іншому акаунту. Створіть для нього окремий канал.",
            )
        account = replace(draft, account_id=identity.account_id, account_name=identity.account_name)
        try:
            await self._accounts.save(account)
        except AlreadyConnected as exc:
            raise _already_connected() from exc
        log.info("account_stored", channel_id=channel_id, state=account.state)
        return AccountProbe(
            channel_id=channel_id,
            account_id=account.account_id,
            account_name=account.account_name,
            credentials_hint=_hint(credentials),
            webhook_url=self.webhook_url(channel_id),
        )

    async def activate(self, channel_id: str, tenant_id: str | None) -> AccountHealth:
        """Step 3: register the webhook; the account works from here on."""
        account = await self._known(channel_id, tenant_id)
        await _asked(self._connector.connect(account, self.webhook_url(channel_id)))
        await self._accounts.set_state(channel_id, "active", None)
        log.info("account_active", channel_id=channel_id)
        return await self.health(channel_id, tenant_id)

    async def health(self, channel_id: str, tenant_id: str | None) -> AccountHealth:
        """How the account is doing, asked now."""
        account = await self._known(channel_id, tenant_id)
        state, pending = account.state, None
        try:
            report = await self._connector.check(account, self.webhook_url(channel_id))
            connected, problem, pending = report.connected, report.problem, report.pending_updates
        except CredentialsInvalid as exc:
            connected, problem, state = False, exc.text, "disconnected"
            await self._accounts.set_state(channel_id, state, problem)
        except (ProviderUnavailable, DeliveryUnknown):
            connected, problem = False, "Месенджер зараз не відповідає. Спробуємо ще раз самі."
        except Throttled as exc:
            connected, problem = False, f"Месенджер просить зачекати {exc.retry_after_seconds:g} с."
        except (MessageRejected, RecipientUnreachable) as exc:
            connected, problem = False, exc.text
        if state == "disconnected":
            connected, problem = False, problem or account.problem
        return AccountHealth(
            channel_id=channel_id,
            state=state,
            connected=connected and state == "active",
            problem=problem,
            checked_at=self._clock(),
            pending_updates=pending,
        )

    async def remove(self, channel_id: str, tenant_id: str | None) -> None:
        """Remove the webhook, the account and what still waits for it. Repeating it changes nothing."""
        account = await self._accounts.load(channel_id)
        if account is None:
            return
        if account.tenant_id != tenant_id:
            raise _unknown()
        try:
            await self._connector.disconnect(account)
        except PROVIDER_ERRORS as exc:
            # The channel goes all the same; the messenger gets 404 from us from now on.
            log.warning("webhook_not_removed", channel_id=channel_id, reason=type(exc).__name__)
        await self._accounts.remove(channel_id)
        await self._sends.fail_channel(channel_id)
        log.info("account_removed", channel_id=channel_id)

    async def _known(self, channel_id: str, tenant_id: str | None) -> Account:
        account = await self._accounts.load(channel_id)
        if account is None or account.tenant_id != tenant_id:
            raise _unknown()
        return account

    def _checked_credentials(self, order: ConnectAccount) -> dict[str, str]:
        if order.kind != self._kind:
            raise Problem(422, "unknown_kind", "Цей сервіс не підключає такий месенджер.")
        schema = self._connector.manifest.credentials_schema
        wanted, given = set(schema["properties"]), set(order.credentials)
        missing = sorted(name for name in schema["required"] if not order.credentials.get(name, "").strip())
        if missing or given - wanted:
            raise Problem(
                422,
                "credentials_invalid",
                "Заповніть поля доступу до месенджера.",
                missing=missing,
                unknown=sorted(given - wanted),
            )
        credentials = {name: value.strip() for name, value in order.credentials.items()}
        if any(len(value) > CREDENTIAL_MAX_CHARS for value in credentials.values()):
            raise Problem(
                422, "credentials_invalid", "Ключ доступу задовгий: перевірте, що скопійовано лише його."
            )
        return credentials

    def _checked_base(self, api_base: str | None) -> str | None:
        if api_base is None:
            return None
        base = api_base.rstrip("/")
        if base not in self._api_bases:
            raise Problem(
                422,
                "api_base_not_allowed",
                "Такої адреси API немає в дозволеному списку. Зверніться до адміністратора системи.",
            )
        return base


def account_routes(desk: AccountDesk, tokens: ServiceTokens) -> APIRouter:
    """PUT, activate, health and DELETE of `contracts/internal_api.py`; only gateway may call."""
    router = APIRouter(prefix="/internal/accounts")
    caller = caller_dependency(tokens, {"gateway"})
    FromGateway = Annotated[Caller, Depends(caller)]  # noqa: N806 - a type

    @router.put("/{channel_id}")
    async def put_account(channel_id: str, body: ConnectAccount, caller: FromGateway) -> AccountProbe:
        if caller.tenant_id != body.tenant_id:
            raise Problem(403, "other_tenant", "Токен виданий для іншого простору.")
        return await _stored(desk.connect(channel_id, body))

    @router.post("/{channel_id}/activate")
    async def activate_account(channel_id: str, caller: FromGateway) -> AccountHealth:
        return await _stored(desk.activate(channel_id, caller.tenant_id))

    @router.get("/{channel_id}/health")
    async def account_health(channel_id: str, caller: FromGateway) -> AccountHealth:
        return await _stored(desk.health(channel_id, caller.tenant_id))

    @router.delete("/{channel_id}", status_code=204)
    async def delete_account(channel_id: str, caller: FromGateway) -> None:
        await _stored(desk.remove(channel_id, caller.tenant_id))

    return router


async def _stored(step: Awaitable[T]) -> T:
    try:
        return await step
    except StoreUnavailable as exc:
        raise Problem(
            503, "unavailable", "Сховище зараз недоступне. Спробуйте ще раз.", headers={"Retry-After": "2"}
        ) from exc


async def _asked(question: Awaitable[T]) -> T:
    """The messenger's answer; its refusals become answers to the administrator."""
    try:
        return await question
    except CredentialsInvalid as exc:
        raise Problem(422, "credentials_invalid", exc.text) from exc
    except (MessageRejected, RecipientUnreachable) as exc:
        raise Problem(422, "refused_by_messenger", exc.text) from exc
    except Throttled as exc:
        seconds = max(1, round(exc.retry_after_seconds))
        raise Problem(
            429,
            "rate_limited",
            f"Месенджер просить зачекати {seconds} с.",
            headers={"Retry-After": str(seconds)},
        ) from exc
    except (ProviderUnavailable, DeliveryUnknown) as exc:
        raise Problem(
            503,
            "provider_unavailable",
            "Месенджер зараз не відповідає. Спробуйте ще раз за хвилину.",
            headers={"Retry-After": "30"},
        ) from exc


def _already_connected() -> Problem:
    return Problem(
        409, "already_connected", "Цей акаунт уже підключено. Від'єднайте його там, де він працює зараз."
    )


def _unknown() -> Problem:
    return Problem(404, "not_found", "Немає такого каналу.")


def _hint(credentials: dict[str, str]) -> str:
    first = next(iter(credentials.values()), "")
    return f"…{first[-_HINT_CHARS:]}" if len(first) >= _HINT_MIN_CHARS else "…"
