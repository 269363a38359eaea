"""Telegram's words: names of keys, limits, our requests.

Updates are read as raw dicts. Models of a library refuse a whole update for one unknown tag, and Telegram
adds tags several times a year.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

TEXT_MAX_UNITS: Final = 4096
"""UTF-16 code units of one message. Source: core.telegram.org/bots/api#sendmessage (fact sheet 1.7)."""
CAPTION_MAX_UNITS: Final = 1024
"""UTF-16 code units under a file. Source: core.telegram.org/bots/api#sendphoto (fact sheet 1.7)."""
UPLOAD_MAX_BYTES: Final = 50 * 1024 * 1024
"""Of any file we send. Source: core.telegram.org/bots/api#sending-files (fact sheet 1.7)."""
PHOTO_MAX_BYTES: Final = 10 * 1024 * 1024
"""Above it a picture goes as a document. Source: core.telegram.org/bots/api#sendphoto (fact sheet 1.7)."""
PHOTO_MAX_SIDES_PX: Final = 10_000
"""Width and height together. Source: core.telegram.org/bots/api#sendphoto (fact sheet 1.7)."""
PHOTO_MAX_RATIO: Final = 20
"""Of the longer side to the shorter. Source: core.telegram.org/bots/api#sendphoto (fact sheet 1.7)."""
STICKER_MAX_BYTES: Final = 512 * 1024
"""Of a still sticker. Source: core.telegram.org/stickers#static-stickers-and-emoji."""
DOWNLOAD_MAX_BYTES: Final = 20 * 1024 * 1024
"""Of a file a bot may fetch. Source: core.telegram.org/bots/api#getfile, `20<<20` in the server (1.7)."""
ALBUM_MAX_FILES: Final = 10
"""And at least 2. Source: core.telegram.org/bots/api#sendmediagroup (fact sheet 1.7)."""
COMMANDS_MAX: Final = 100
COMMAND_DESCRIPTION_MAX_UNITS: Final = 256
"""Source: core.telegram.org/bots/api#setmycommands and #botcommand."""
POLL_MAX_SECONDS: Final = 50
"""Longest wait of getUpdates. Source: the server's own cap (fact sheet 1.1)."""
POLL_UPDATES: Final = 100
"""Most updates of one poll. Source: core.telegram.org/bots/api#getupdates."""
CALLBACK_MAX_BYTES: Final = 64
"""Bytes of callback_data. Source: core.telegram.org/bots/api#inlinekeyboardbutton (fact sheet 1.4)."""
SENDS_PER_SECOND: Final = 30
"""Messages of one bot per second. Source: core.telegram.org/bots/faq, "hitting limits" (fact sheet 1.7)."""
START_PAYLOAD_MAX_CHARS: Final = 64
"""Source: core.telegram.org/bots/features#deep-linking (fact sheet 1.4)."""

SECRET_HEADER: Final = b"x-telegram-bot-api-secret-token"

ALLOWED_UPDATES: Final = ("message", "edited_message", "callback_query", "my_chat_member")
"""Said at every registration: Telegram keeps the previous list when it is omitted (fact sheet 1.1)."""

NOT_FOR_A_BOT_CHAT: Final = frozenset(
    {
        "channel_post",
        "edited_channel_post",
        "business_connection",
        "business_message",
        "edited_business_message",
        "deleted_business_messages",
        "message_reaction",
        "message_reaction_count",
        "chat_member",
        "chat_join_request",
        "chat_boost",
        "removed_chat_boost",
        "inline_query",
        "chosen_inline_result",
        "poll",
        "poll_answer",
        "pre_checkout_query",
        "shipping_query",
        "purchased_paid_media",
        "managed_bot",
    }
)
"""Known kinds of update that are no message of a client: counted."""

SERVICE_NOTES: Final = frozenset(
    {
        "pinned_message",
        "message_auto_delete_timer_changed",
        "write_access_allowed",
        "connected_website",
        "chat_background_set",
        "proximity_alert_triggered",
    }
)
"""Content keys of a private chat that nobody wrote: counted."""

ENVELOPE_KEYS: Final = frozenset(
    {
        "message_id", "from", "chat", "date", "edit_date", "message_thread_id", "direct_messages_topic",
        "is_topic_message", "sender_chat", "sender_boost_count", "sender_business_bot", "sender_tag",
        "business_connection_id", "forward_origin", "forward_from", "forward_from_chat",
        "forward_from_message_id", "forward_signature", "forward_sender_name", "forward_date",
        "is_automatic_forward", "reply_to_message", "external_reply", "quote", "reply_to_story",
        "reply_to_checklist_task_id", "via_bot", "has_protected_content", "is_from_offline",
        "is_paid_post", "media_group_id", "author_signature", "paid_star_count", "entities",
        "link_preview_options", "effect_id", "caption", "caption_entities", "show_caption_above_media",
        "has_media_spoiler", "reply_markup",
    }
)  # fmt: skip
"""Keys of a message that say who and when, not what."""

NAME_MAX_CHARS: Final = 256
WORD_MAX_CHARS: Final = 64
"""Of names of things and ids: Telegram's own are shorter."""
PRESS_PREFIX: Final = "press:"
"""Begins the provider id of a pressed button."""


@dataclass(frozen=True, slots=True)
class _Send:
    chat_id: int
    reply_to_message_id: int | None
    reply_markup: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class SendText(_Send):
    """One sendMessage call. Without parse_mode: the operator's words are not markup."""

    text: str


class FileMethod(StrEnum):
    """How a file is shown on the phone; the word in `send<Word>` and in an album's `type`."""

    PHOTO = "photo"
    VIDEO = "video"
    ANIMATION = "animation"
    AUDIO = "audio"
    VOICE = "voice"
    STICKER = "sticker"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class File:
    """A file of an answer; its bytes are streamed from the object store when it goes out."""

    method: FileMethod
    key: str
    name: str
    size_bytes: int
    caption: str
    width: int | None
    height: int | None
    duration_s: int | None


@dataclass(frozen=True, slots=True)
class SendFile(_Send):
    """One call that sends one file."""

    file: File


@dataclass(frozen=True, slots=True)
class SendAlbum(_Send):
    """One sendMediaGroup call: several files that stand together. Telegram takes no buttons with it."""

    files: tuple[File, ...]


Request = SendText | SendFile | SendAlbum
