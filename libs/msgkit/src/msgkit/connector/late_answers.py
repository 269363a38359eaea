"""Late answers of people nobody granted to a business: put off, told to its administrators and to inbox."""

from __future__ import annotations

from typing import Final

from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account, AccountAlert
from msgkit.connector.reach import store_reached
from msgkit.contracts import topology
from msgkit.contracts.events import HumanAgentRefused
from msgkit.contracts.ids import new_id
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, StoreUnavailable

log = get_logger(__name__)

NOT_GRANTED: Final = (
    "Meta не надала застосунку «Human Agent», тому відповідати можна лише 24 години після останнього "
    "повідомлення клієнта. Подайте заявку: Meta for Developers → застосунок → App Review → Permissions "
    "and Features → Human Agent. Коли Meta її схвалить, знову ввімкніть у налаштуваннях каналу відповіді "
    "оператора до 7 днів."
)


class LateAnswers:
    """The setting `human_agent` of accounts, as the messenger's refusals change it."""

    def __init__(
        self,
        database: Database,
        *,
        accounts: AccountStore,
        alerts: AccountAlerts,
        publisher: Publisher,
        clock: Clock = utc_now,
    ) -> None:
        self._collection = database["accounts"]
        self._accounts = accounts
        self._alerts = alerts
        self._publisher = publisher
        self._clock = clock

    async def refused(self, account: Account) -> None:
        """The messenger says that this account may not answer late. Doing it again has no further effect.

        Inbox first: while it does not know, it orders late answers, and the setting must stand so that the
        next one is refused like this one and all of it is done then.
        """
        now = self._clock()
        event = HumanAgentRefused(
            type="channel.human_agent_refused.v1",
            event_id=new_id(),
            tenant_id=account.tenant_id,
            channel_id=account.channel_id,
            channel_kind=account.kind,
            recorded_at=now,
            happened_at=now,
        )
        try:
            await self._publisher.publish(
                Outgoing(
                    exchange=topology.INBOUND,
                    routing_key=topology.channel_key(account.kind, account.channel_id),
                    body=event.model_dump_json().encode(),
                    event_id=event.event_id,
                    type=event.type,
                )
            )
            await self._put_off(account.channel_id)
            await self._alerts.take(account, [AccountAlert(NOT_GRANTED, False, now)])
        except (PublishUnknown, PublishUnroutable, StoreUnavailable) as exc:
            log.warning("late_answers_not_put_off", channel_id=account.channel_id, reason=str(exc))
            return
        log.error("late_answers_refused", channel_id=account.channel_id, kind=account.kind)

    async def _put_off(self, channel_id: str) -> None:
        # This one field: the tenant may be saving the others at this moment.
        with store_reached("accounts"):
            await self._collection.update_one(
                {"_id": channel_id, "settings.human_agent": True}, {"$set": {"settings.human_agent": False}}
            )
        self._accounts.forget(channel_id)
