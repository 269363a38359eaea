"""What administrators and connectors change about channels; whoever may see a channel is told."""

from __future__ import annotations

from inbox.beside import Beside
from inbox.channels import ChannelBook, ChannelRecord, ChannelStore
from msgkit.contracts.events import ChannelHealthReported, HumanAgentRefused
from msgkit.contracts.views import ChannelView
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)


class ChannelDesk:
    """The use cases of channels."""

    def __init__(self, store: ChannelStore, book: ChannelBook, beside: Beside) -> None:
        self.store = store
        self._book = book
        self._beside = beside

    async def tell(self, record: ChannelRecord) -> ChannelView:
        """Make a change known.

        Raises:
            PublishUnknown: nobody may have heard of it; repeat.
        """
        view = record.view
        self._book.forget(view.id)
        await self._beside.tell(record.tenant_id, view.id, "channel.updated", view.model_dump(mode="json"))
        return view

    async def note_health(self, report: ChannelHealthReported) -> None:
        """Keep how an account is doing; told only when it changed, however often it is said.

        Raises:
            PublishUnknown: stored, but not told; call again.
        """
        record = await self.store.note_health(
            report.tenant_id,
            report.channel_id,
            connected=report.connected,
            problem=report.problem,
            at=report.happened_at,
        )
        if record is None:
            return
        log.info("channel_health", channel_id=report.channel_id, connected=report.connected)
        await self.tell(record)
        await self.store.told(record)

    async def refuse_human_agent(self, refused: HumanAgentRefused) -> None:
        """People answer within the same time as bots from now on; the account's alert says why.

        Raises:
            PublishUnknown: stored, but not told; call again.
        """
        record = await self.store.refuse_human_agent(
            refused.tenant_id, refused.channel_id, refused.happened_at
        )
        if record is None:
            return
        log.info("human_agent_put_off", channel_id=refused.channel_id)
        await self.tell(record)
        await self.store.told(record)
