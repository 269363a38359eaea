"""What can be done with an account: connect, activate, disable, rotate its secret, check, remove.

Nothing is stored before the messenger has said that the credentials work. Every step may be repeated, and
what one of them leaves undone the health watch finishes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.account_form import AccountForm, hint
from msgkit.connector.accounts import CACHE_SECONDS, AccountStore, AlreadyConnected
from msgkit.connector.contract import Account, AccountAlert, Connector, HasTemplates, ServesApp
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.gaps import Gaps
from msgkit.connector.late_answers import NOT_GRANTED
from msgkit.connector.receiving import Receiving
from msgkit.connector.send_documents import CHANNEL_OFF
from msgkit.connector.send_store import SendStore
from msgkit.connector.settings import AppKeys
from msgkit.contracts.internal_api import (
    AccountHealth,
    AccountProbe,
    AccountSettings,
    ConnectAccount,
    MessageTemplate,
)
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger, register_secret
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

_SECRET_BYTES = 32
SPREAD_SECONDS = CACHE_SECONDS + 0.5
"""After this every replica knows of a change."""

OFF = "Канал вимкнено. Увімкніть його в налаштуваннях каналу."
UNREACHABLE = "Месенджер зараз не відповідає. Спробуємо ще раз самі."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """What the messenger says of an account now."""

    connected: bool
    problem: str | None
    pending_updates: int | None = None
    refused: bool = False
    """The credentials do not work."""
    is_lost: bool = False
    """The credentials work, but the messenger does not bring us anything: our registration is gone."""
    is_dropped: bool = False
    """It is lost, and nobody took it over."""
    is_silent: bool = False
    """The messenger did not answer: nothing is known."""


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
        receiving: Receiving,
        alerts: AccountAlerts,
        app: AppKeys | None = None,
        gaps: Gaps | None = None,
        clock: Clock = utc_now,
        spread_s: float = SPREAD_SECONDS,
    ) -> None:
        """
        Args:
            receiving: lets messages of an account come in, by webhook or by polling.
            app: for a connector that is `ServesApp`: what its app proves itself with.
            gaps: for a connector that is `RecallsMissed`.
            spread_s: seconds until every replica has seen a new webhook secret.
        """
        self._connector = connector
        self._form = AccountForm(connector, api_bases, app or AppKeys())
        self._accounts = accounts
        self._sends = sends
        self._public_url = public_url.rstrip("/")
        self._receiving = receiving
        self._alerts = alerts
        self._gaps = gaps
        self._clock = clock
        self._spread_s = spread_s
        # Two registrations of one account must not overtake each other: the later one could be the older.
        self._registering: dict[str, asyncio.Lock] = {}

    def webhook_url(self, account: Account) -> str:
        """Where the messenger brings what is for this account."""
        shared = f"{self._public_url}/webhooks/{account.kind}"
        if isinstance(self._connector, ServesApp) and not self._connector.needs_own_address(account):
            return shared
        return f"{shared}/{account.channel_id}"

    async def connect(self, channel_id: str, order: ConnectAccount) -> AccountProbe:
        """Step 1: ask the messenger, then store the account. Repeating it changes nothing.

        For a known account: new credentials. Without an `api_base` it keeps the one it has.

        Raises:
            Problem: 409 if another channel has this account, 422 with the messenger's reason.
        """
        credentials = self._form.credentials(order)
        for value in credentials.values():
            register_secret(value)
        known = await self._accounts.load(channel_id)
        if known is not None and known.tenant_id != order.tenant_id:
            raise _already_connected()
        if known is not None and known.kind != order.kind:
            raise _other_account()
        api_base = self._form.base(order.api_base)
        draft = Account(
            channel_id=channel_id,
            tenant_id=order.tenant_id,
            kind=order.kind,
            account_id="",
            account_name=None,
            api_base=known.api_base if known is not None and api_base is None else api_base,
            state="pending" if known is None or known.state == "disconnected" else known.state,
            problem=None,
            paused_until=None,
            credentials=credentials,
            webhook_secret=secrets.token_urlsafe(_SECRET_BYTES) if known is None else known.webhook_secret,
        )
        self._form.require_app_secret(draft)
        identity = await asked(self._connector.probe(draft))
        if known is not None and known.account_id != identity.account_id:
            raise _other_account()
        account = replace(
            draft,
            account_id=identity.account_id,
            account_name=identity.account_name,
            also_known_as=identity.also_known_as,
        )
        try:
            await self._accounts.save(account)
        except AlreadyConnected as exc:
            raise _already_connected() from exc
        log.info("account_stored", channel_id=channel_id, state=account.state, is_new=known is None)
        return AccountProbe(
            channel_id=channel_id,
            account_id=account.account_id,
            account_name=account.account_name,
            credentials_hint=hint(credentials),
            webhook_url=self.webhook_url(account),
        )

    async def activate(
        self, channel_id: str, tenant_id: str | None, *, by_person: bool = True
    ) -> AccountHealth:
        """Step 3: register the webhook; the account works from here on. Also: switch it on again.

        Args:
            by_person: somebody looked after it: what the messenger said of the account before is over.
        """
        await self._note_missed(await self._known(channel_id, tenant_id))
        looked_at = self._clock()
        account = await asked(self._register(channel_id, tenant_id))
        if by_person:
            await self._alerts.overcome(channel_id)
        if not await self._accounts.set_state(channel_id, "active", None):
            # It was removed while we registered it; what is registered must not stay.
            await self._leave(account)
            raise unknown()
        log.info("account_active", channel_id=channel_id)
        health = await self.health(channel_id, tenant_id)
        if health.connected and self._gaps is not None:
            await self._gaps.well(channel_id, looked_at)
        return health

    async def disable(self, channel_id: str, tenant_id: str | None) -> AccountHealth:
        """Switch the account off: nothing comes in, nothing goes out; what still waits fails and says why."""
        account = await self._known(channel_id, tenant_id)
        await self._accounts.disable(channel_id)
        await self._sends.fail_channel(channel_id, CHANNEL_OFF)
        await self.take_webhook_away(account)
        log.info("account_disabled", channel_id=channel_id)
        return await self.health(channel_id, tenant_id)

    async def take_webhook_away(self, account: Account) -> None:
        """Tell the messenger that a disabled account takes nothing; if it cannot be told, the watch does."""
        if await self._disconnected(account):
            await self._accounts.webhook_gone(account.channel_id)

    async def rotate_secret(self, channel_id: str, tenant_id: str | None) -> AccountHealth:
        """Give the messenger a new webhook secret; both hold while it changes.

        Repeated after it stopped half-way, it finishes what was begun.

        Raises:
            Problem: 409 if the account is not active; the messenger's refusal, and then the old one holds.
        """
        account = await self._known(channel_id, tenant_id)
        if account.state != "active":
            raise Problem(409, "not_active", "Канал зараз не працює. Увімкніть його, тоді змініть секрет.")
        begun = await self._accounts.begin_rotation(account, secrets.token_urlsafe(_SECRET_BYTES))
        if begun is None:
            raise unknown()
        await self._note_missed(account)
        # First every replica accepts the new one, then the messenger learns it: nothing is refused between.
        await asyncio.sleep(self._spread_s)
        await asked(self._register(channel_id, tenant_id))
        log.info("webhook_secret_rotated", channel_id=channel_id)
        return await self.health(channel_id, tenant_id)

    async def apply_settings(self, channel_id: str, tenant_id: str | None, settings: AccountSettings) -> None:
        """Tell the messenger what the tenant decided, and keep it for `Account.settings`.

        Raises:
            Problem: 422 with the messenger's reason; nothing changed then.
        """
        account = await self._known(channel_id, tenant_id)
        await asked(self._connector.apply_settings(settings, account))
        if not await self._accounts.keep_settings(channel_id, settings):
            raise unknown()
        if settings.human_agent and account.alert is not None and account.alert.problem == NOT_GRANTED:
            # Whoever puts it on again says that it was granted; if not, the next late answer tells.
            await self._alerts.take(account, [AccountAlert(None, False, self._clock())])
        log.info("account_settings_applied", channel_id=channel_id)

    async def health(self, channel_id: str, tenant_id: str | None) -> AccountHealth:
        """How the account is doing, asked now."""
        account = await self._known(channel_id, tenant_id)
        look = await self.look(account)
        state = account.state
        if look.refused and await self._accounts.refused(account, look.problem or ""):
            state = "disconnected"
        problem = look.problem or (account.problem if state == "disconnected" else None)
        connected = look.connected and state == "active"
        return AccountHealth(
            channel_id=channel_id,
            state=state,
            connected=connected,
            receiving=self._receiving.way(account.api_base) if connected else None,
            problem=problem,
            checked_at=self._clock(),
            pending_updates=look.pending_updates,
        )

    async def templates(self, channel_id: str, tenant_id: str | None) -> list[MessageTemplate]:
        """The approved templates, by name.

        Raises:
            Problem: 404 for a messenger without templates; the messenger's refusal.
        """
        account = await self._known(channel_id, tenant_id)
        if not isinstance(self._connector, HasTemplates):
            raise Problem(404, "no_templates", "У цього месенджера немає шаблонів повідомлень.")
        found = await asked(self._connector.templates(account))
        return sorted(found, key=lambda template: (template.name, template.language))

    async def look(self, account: Account) -> Look:
        """Ask the messenger about the account, and add what it said of it itself; changes nothing."""
        if account.state == "disabled":
            return Look(False, OFF)
        look = await self.commented(account, await self._checked(account))
        alert = account.alert
        if alert is None or alert.problem is None or look.refused or look.is_silent:
            return look
        if alert.is_disconnected:
            return replace(look, connected=False, problem=alert.problem, is_lost=False)
        return look if look.problem is not None else replace(look, problem=alert.problem)

    async def commented(self, account: Account, look: Look) -> Look:
        """With what we know ourselves of an account that is well otherwise."""
        if not look.connected or look.problem is not None:
            return look
        problem = account.renewal_problem
        if problem is None and self._gaps is not None:
            problem = await self._gaps.progress(account.channel_id)
        return replace(look, problem=problem)

    async def _checked(self, account: Account) -> Look:
        try:
            report = await self._receiving.check(account, self.webhook_url(account))
        except CredentialsInvalid as exc:
            return Look(False, exc.text, refused=True)
        except (ProviderUnavailable, DeliveryUnknown):
            return Look(False, UNREACHABLE, is_silent=True)
        except Throttled as exc:
            detail = f"Месенджер просить зачекати {exc.retry_after_seconds:g} с."
            return Look(False, detail, is_silent=True)
        except (MessageRejected, RecipientUnreachable) as exc:
            return Look(False, exc.text)
        return Look(
            report.connected,
            report.problem,
            report.pending_updates,
            is_lost=not report.connected,
            is_dropped=not report.connected and report.is_dropped,
        )

    async def remove(self, channel_id: str, tenant_id: str | None) -> None:
        """Remove the webhook, the account and what still waits for it. Repeating it changes nothing."""
        account = await self._accounts.load(channel_id)
        if account is None:
            await self._sends.fail_channel(channel_id)
            await self._receiving.forget(channel_id)
            return
        if account.tenant_id != tenant_id:
            raise unknown()
        await self._leave(account)
        await self._sends.fail_channel(channel_id)
        await self._receiving.forget(channel_id)
        log.info("account_removed", channel_id=channel_id)

    async def say_farewell(self, account: Account) -> None:
        """Try again to take our webhook away from an account that was removed."""
        if await self._disconnected(account):
            await self._accounts.said_farewell(account.channel_id)
            log.info("farewell_said", channel_id=account.channel_id)

    async def _register(self, channel_id: str, tenant_id: str | None) -> Account:
        """Let messages come in as this installation takes them; returns the account as registered."""
        async with self._registering.setdefault(channel_id, asyncio.Lock()):
            account = await self._known(channel_id, tenant_id)
            await self._receiving.connect(account, self.webhook_url(account))
            if account.is_rotating:
                await self._accounts.end_rotation(account)
        return account

    async def _note_missed(self, account: Account) -> None:
        """Before it is registered: what nobody told us may be missing. Of a new one nothing is."""
        if self._gaps is None:
            return
        if account.state == "disabled":
            await self._gaps.switched_on(account.channel_id)
        elif account.state != "active" or (await self._checked(account)).is_lost:
            await self._gaps.lost(account.channel_id)

    async def register_again(self, account: Account) -> None:
        """Register what somebody else changed. Raises the errors of `errors.py`."""
        await self._register(account.channel_id, account.tenant_id)

    async def _leave(self, account: Account) -> None:
        """The webhook first: one of a channel nobody knows would have no home."""
        told = await self._disconnected(account)
        await self._accounts.remove(account, webhook_left=not told)

    async def _disconnected(self, account: Account) -> bool:
        """Whether the messenger brings us nothing any more."""
        try:
            await self._connector.disconnect(account)
        except CredentialsInvalid:
            return True  # we have no say there any more
        except PROVIDER_ERRORS as exc:
            log.warning("webhook_not_removed", channel_id=account.channel_id, reason=type(exc).__name__)
            return False
        return True

    async def _known(self, channel_id: str, tenant_id: str | None) -> Account:
        account = await self._accounts.load(channel_id)
        if account is None or account.tenant_id != tenant_id:
            raise unknown()
        return account


async def asked(question: Awaitable[T]) -> T:
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


def unknown() -> Problem:
    return Problem(404, "not_found", "Немає такого каналу.")


def _already_connected() -> Problem:
    return Problem(
        409, "already_connected", "Цей акаунт уже підключено. Від'єднайте його там, де він працює зараз."
    )


def _other_account() -> Problem:
    return Problem(
        409, "other_account", "Ці ключі належать іншому акаунту. Створіть для нього окремий канал."
    )
