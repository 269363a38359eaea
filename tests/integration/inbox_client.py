"""A client who writes to inbox, and what a connector would say of them and of its messenger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from msgkit.contracts.events import (
    Contact,
    ContactAvailability,
    Content,
    DeliveryReported,
    Failure,
    MediaRef,
    MediaSettled,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    OutboundButton,
    ReactionChanged,
    StoredMedia,
)
from msgkit.contracts.ids import (
    attachment_id,
    conversation_id,
    inbound_event_id,
    inbound_message_id,
    new_id,
)
from msgkit.contracts.manifest import Abilities, Manifest, ManifestAnnounced
from msgkit.contracts.words import AuthorKind, Direction, MessageKind, MessageState
from msgkit.runtime.clock import utc_now

KIND = "telegram_bot"


@dataclass
class Client:
    """A client of one channel, who writes, edits, blocks."""

    channel_id: str
    tenant_id: str = "salon"
    key: str = "501"
    name: str = "Оля"
    numbers: int = field(default=0)

    @property
    def conversation_id(self) -> str:
        return conversation_id(self.channel_id, self.key)

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "tenant_id": self.tenant_id,
            "channel_id": self.channel_id,
            "channel_kind": KIND,
            "recorded_at": utc_now(),
            "conversation_id": self.conversation_id,
        }

    @property
    def _contact(self) -> Contact:
        return Contact(key=self.key, name=self.name, username=None, phone=None, language="uk")

    def says(
        self,
        text: str,
        *,
        provider_id: str | None = None,
        sent_at: datetime | None = None,
        seq: int | None = None,
        reply_to: str | None = None,
        content: Content | None = None,
    ) -> MessageReceived:
        self.numbers += 1
        provider_id = provider_id or str(self.numbers)
        return MessageReceived(
            **self._common,
            type="message.received.v1",
            event_id=inbound_event_id(
                KIND, self.channel_id, f"{self.key}:{provider_id}", "message.received.v1"
            ),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            provider_seq=seq or self.numbers,
            sent_at=sent_at or utc_now(),
            content=content or text_content(text),
            reply_to_provider_id=reply_to,
            start_payload=None,
            group_id=None,
            pressed=None,
            is_standby=False,
        )

    def hears(
        self,
        text: str,
        provider_id: str,
        author_kind: Literal[AuthorKind.OPERATOR, AuthorKind.BOT],
        content: Content | None = None,
        buttons: Sequence[Sequence[OutboundButton]] = (),
    ) -> MessageEchoed:
        """Something was said to them that inbox did not order."""
        self.numbers += 1
        return MessageEchoed(
            **self._common,
            type="message.echoed.v1",
            event_id=inbound_event_id(
                KIND, self.channel_id, f"{self.key}:{provider_id}", "message.echoed.v1"
            ),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            provider_seq=self.numbers,
            sent_at=utc_now(),
            author_kind=author_kind,
            content=content or text_content(text),
            buttons=[list(row) for row in buttons],
            reply_to_provider_id=None,
        )

    def edits(self, provider_id: str, text: str, edited_at: datetime | None = None) -> MessageEdited:
        at = edited_at or utc_now()
        return MessageEdited(
            **self._common,
            type="message.edited.v1",
            event_id=new_id(),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            edited_at=at,
            content=text_content(text),
        )

    def withdraws(self, provider_id: str) -> MessageDeleted:
        return MessageDeleted(
            **self._common,
            type="message.deleted.v1",
            event_id=new_id(),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            deleted_at=utc_now(),
        )

    def reacts(self, provider_id: str, emoji: str | None) -> ReactionChanged:
        return ReactionChanged(
            **self._common,
            type="message.reacted.v1",
            event_id=new_id(),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            author_kind=AuthorKind.CLIENT,
            emoji=emoji,
            reacted_at=utc_now(),
        )

    def said_once(
        self,
        text: str,
        provider_id: str,
        sent_at: datetime,
        direction: Literal[Direction.IN, Direction.OUT] = Direction.IN,
        content: Content | None = None,
    ) -> MessageRecalled:
        """A message of the time before the channel was connected."""
        self.numbers += 1
        return MessageRecalled(
            **self._common,
            type="message.recalled.v1",
            event_id=new_id(),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            provider_seq=self.numbers,
            sent_at=sent_at,
            direction=direction,
            content=content or text_content(text),
            state=MessageState.READ if direction is Direction.OUT else MessageState.DELIVERED,
        )

    def turns(self, *, available: bool, at: datetime | None = None) -> ContactAvailability:
        return ContactAvailability(
            **self._common,
            type="contact.availability.v1",
            event_id=new_id(),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            available=available,
            happened_at=at or utc_now() + timedelta(seconds=1),
        )

    def gets(
        self,
        message_id: str,
        state: MessageState,
        *,
        provider_ids: tuple[str, ...] = (),
        failure: Failure | None = None,
        blocked: bool = False,
        is_late_refusal: bool = False,
    ) -> DeliveryReported:
        return DeliveryReported(
            **self._common,
            type="delivery.reported.v1",
            event_id=new_id(),
            message_id=message_id,
            state=state,
            provider_ids=list(provider_ids),
            failure=failure,
            contact_blocked=blocked,
            is_late_refusal=is_late_refusal,
            happened_at=utc_now() + timedelta(seconds=1),
        )

    def file_of(self, provider_id: str, ref: str) -> str:
        """The id of a file of a message of theirs."""
        return attachment_id(inbound_message_id(self.conversation_id, provider_id), ref)

    def file_settled(self, provider_id: str, ref: str, *, lost: Any = None) -> MediaSettled:
        """Their file was fetched, or why it is lost."""
        stored = StoredMedia(
            key=f"objects/{ref}",
            mime="image/png",
            size_bytes=900,
            width=600,
            height=400,
            duration_s=None,
            thumb_key=f"objects/{ref}-thumb",
        )
        return MediaSettled(
            **self._common,
            type="media.settled.v1",
            event_id=new_id(),
            message_id=inbound_message_id(self.conversation_id, provider_id),
            attachment_id=self.file_of(provider_id, ref),
            stored=None if lost else stored,
            reason=lost,
            happened_at=utc_now(),
        )


def announcement(
    reply_window_hours: int | None = None,
    *,
    templates: bool = False,
    read_marks: bool = False,
    human_hours: int | None = None,
) -> ManifestAnnounced:
    """What the connector of these channels would say of its messenger."""
    abilities = Abilities(
        bot=False,
        buttons=True,
        edit=True,
        delete=True,
        typing=False,
        receipts=True,
        knows_phone=True,
        needs_prior_inbound=True,
        read_marks=read_marks,
        reactions=True,
        templates=templates,
        media_kinds=[],
    )
    manifest = Manifest(
        kind=KIND,
        title="Telegram",
        service="ingest-telegram",
        abilities=abilities,
        limits={},
        reply_window_hours=reply_window_hours,
        human_reply_window_hours=human_hours,
        human_agent_by_default=False,
        credentials_schema={},
    )
    return ManifestAnnounced(
        type="manifest.announced.v1",
        manifest=manifest,
        internal_url="http://127.0.0.1:1",
        instance="a test",
        at=utc_now(),
    )


def text_content(text: str) -> Content:
    return Content(
        kind=MessageKind.TEXT,
        text=text,
        entities=[],
        media=[],
        place=None,
        shared_contact=None,
        shared_link=None,
        unsupported=None,
    )


def photo_content(ref: str, text: str = "") -> Content:
    file = MediaRef(
        ref=ref,
        kind=MessageKind.IMAGE,
        name=None,
        mime="image/jpeg",
        size_bytes=1000,
        width=640,
        height=480,
        duration_s=None,
    )
    return text_content(text).model_copy(update={"kind": MessageKind.IMAGE, "media": [file]})
