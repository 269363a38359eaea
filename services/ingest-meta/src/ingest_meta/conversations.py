"""What the Conversations API tells of missed messages becomes webhooks, as they would have come. Pure.

The id of a message is its mid, so what did come as a webhook does not show twice. Of reactions, edits,
unsends and presses it tells nothing.

Source: fact sheet 1.1, «Needed job»; the shapes of webhooks: 1.2, 1.3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import from_json, to_json

from ingest_meta.flavours import Flavour
from ingest_meta.payloads import moment
from msgkit.connector.raw import Node, integer, is_node, items, node, opaque, text

LIST_FIELDS: Final = "id,updated_time"
MESSAGE_FIELDS: Final = "id,created_time,from,to,message,attachments,sticker,shares,story"
BODY_MESSAGES_MAX: Final = 50
"""Of one webhook we make; a body of the journal must not grow without end."""
PORTIONS_MAX: Final = 400
"""Of one conversation."""
SLACK_MS: Final = 10_000
"""By which Meta's clock and ours may differ, whole seconds of its list included."""
FRESH_MAX: Final = 500
PASSES_MAX: Final = 4
"""Each is shorter than the one before: it looks only for what was said meanwhile."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far the reading has come; written down after each step, so a crash costs one step."""

    began: int
    """When this pass through the list began, in milliseconds."""
    least: int
    """Conversations that were quiet since then are left out, in milliseconds."""
    number: int = 1
    """Of the pass."""
    after: str | None = None
    """Where the list goes on."""
    is_listed: bool = False
    """The list of this pass was read to its end."""
    is_sorted: bool = True
    """So far the list came newest first."""
    newest: int | None = None
    """Of the conversation listed last, in milliseconds."""
    todo: tuple[str, ...] = ()
    """Conversations to be read before the list goes on."""
    starts: tuple[str, ...] = ()
    """Of the first of them: where its portions begin that are not said yet, the newest first; it is read back
    to the moment and then said from there on, because what was said first must be told first."""
    is_back: bool = False
    """It was read back to the moment; its last portion is the next to be said."""
    found: int = 0
    """Conversations of this pass."""
    fresh: tuple[tuple[str, int], ...] = ()
    """Conversations that were updated about when a pass began, with that time: not read twice for nothing."""

    def to_cursor(self) -> str:
        """As `Recalled.cursor`."""
        return to_json(asdict(self)).decode()


def first_place(since: datetime, now: datetime) -> Place:
    """Where a reading begins."""
    return Place(began=_ms(now), least=_floor(since))


def read_cursor(cursor: str) -> Place | None:
    """The place a cursor of ours names; None for anything else."""
    try:
        told = node(from_json(cursor))
    except ValueError:
        return None
    began, least, number, found = (integer(told.get(key)) for key in ("began", "least", "number", "found"))
    if began is None or least is None or number is None or found is None:
        return None
    return Place(
        began=began,
        least=least,
        number=number,
        after=text(told.get("after")),
        is_listed=told.get("is_listed") is True,
        is_sorted=told.get("is_sorted") is True,
        newest=integer(told.get("newest")),
        todo=tuple(one for one in items(told.get("todo")) if isinstance(one, str)),
        starts=tuple(one for one in items(told.get("starts")) if isinstance(one, str)),
        is_back=told.get("is_back") is True,
        found=found,
        fresh=tuple(
            (one[0], one[1])
            for one in items(told.get("fresh"))
            if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and type(one[1]) is int
        ),
    )


def listed(place: Place, told: Node) -> Place:
    """The place after a page of the list.

    Args:
        place: before it.
        told: `GET /{id}/conversations` with LIST_FIELDS.
    """
    todo, newest, is_sorted, is_past = [], place.newest, place.is_sorted, False
    fresh = list(place.fresh)
    for one in items(told.get("data")):
        conversation_id = opaque(node(one).get("id"))
        if conversation_id is None:
            continue
        updated = time_of(node(one).get("updated_time"))
        if updated is None:
            todo.append(conversation_id)
            continue
        is_sorted = is_sorted and (newest is None or updated <= newest)
        newest = updated
        is_past = updated < place.least
        if is_past or (conversation_id, updated) in fresh:
            continue
        todo.append(conversation_id)
        if updated >= place.began - SLACK_MS:
            fresh.append((conversation_id, updated))
    after = next_of(told, place.after)
    # Sorted so far and past what we look for: the rest of the list is older still.
    is_listed = after is None or (is_sorted and is_past)
    return replace(
        place,
        after=after,
        is_listed=is_listed,
        is_sorted=is_sorted,
        newest=newest,
        todo=tuple(todo),
        found=place.found + len(todo),
        fresh=tuple(fresh[-FRESH_MAX:]),
    )


def next_pass(place: Place, now: datetime) -> Place | None:
    """Once more from the start, or None if nothing can have been missed.

    A conversation in which somebody writes while we read moves to the front of the list, past us; so the list
    is read again for what was updated since we began.
    """
    if (place.found == 0 and place.number > 1) or place.number >= PASSES_MAX:
        return None
    least = place.began - SLACK_MS
    fresh = tuple(one for one in place.fresh if one[1] >= least)
    return Place(began=_ms(now), least=least, number=place.number + 1, fresh=fresh)


def next_of(told: Node, before: str | None) -> str | None:
    """Where a list goes on; None: that was all, or it goes in a circle.

    `next` of an answer is an address, and maybe a stranger's: the position after the page is enough.
    """
    paging = node(told.get("paging"))
    after = opaque(node(paging.get("cursors")).get("after"))
    return after if paging.get("next") and after != before else None


def time_of(value: object) -> int | None:
    """A time of the API in milliseconds: ISO 8601 with an offset, or a number; None if it makes no sense."""
    found = moment(value)
    if found is None and isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
    # Without an offset it is no moment.
    return None if found is None or found.tzinfo is None else _ms(found)


def portion_of(place: Place) -> str:
    """Where the portion of the first conversation begins that is read next; empty: at its newest message."""
    return place.starts[-1] if place.starts else ""


def read_back(place: Place, further: str | None) -> tuple[Place, bool]:
    """The place after a portion of the first conversation, and whether that portion can be said now.

    Args:
        place: before it.
        further: where an older portion begins; None: the moment was reached.
    """
    if not place.is_back and further is not None and len(place.starts) < PORTIONS_MAX:
        return replace(place, starts=(*(place.starts or ("",)), further)), False
    newer = place.starts[:-1]
    if newer:
        return replace(place, starts=newer, is_back=True), True
    return without_first(place), True


def without_first(place: Place) -> Place:
    """The place after the first conversation, read or not."""
    return replace(place, todo=place.todo[1:], starts=(), is_back=False)


def is_before(told: Node, since: datetime) -> bool:
    """Whether a message was said before that moment, for certain."""
    said_at = time_of(told.get("created_time"))
    return said_at is not None and said_at < _floor(since)


def to_bodies(
    flavour: Flavour, account_id: str, our_ids: Collection[str], messages: Iterable[object]
) -> tuple[bytes, ...]:
    """Webhooks that say these messages of one conversation, the oldest first.

    Args:
        flavour: of the account.
        account_id: that webhooks name.
        our_ids: by which messages of the business itself are known.
        messages: as the API tells them, the newest first.
    """
    dated = [
        (said_at, told)
        for told in reversed([one for one in messages if is_node(one)])
        if (said_at := time_of(told.get("created_time"))) is not None
    ]
    dated.sort(key=lambda one: one[0])
    made = [_item(flavour, account_id, our_ids, told, said_at) for said_at, told in dated]
    said = [one for one in made if one is not None]
    return tuple(
        to_json(
            {
                "object": flavour.webhook_object,
                "entry": [
                    {
                        "id": account_id,
                        "time": said[at]["timestamp"],
                        "messaging": said[at : at + BODY_MESSAGES_MAX],
                    }
                ],
            }
        )
        for at in range(0, len(said), BODY_MESSAGES_MAX)
    )


def _item(
    flavour: Flavour, account_id: str, our_ids: Collection[str], told: Node, said_at: int
) -> dict[str, Any] | None:
    """One element of `messaging`; None if it cannot be said of whom it is."""
    mid, sender = opaque(told.get("id")), opaque(node(told.get("from")).get("id"))
    if mid is None or sender is None:
        return None
    is_ours = sender in our_ids
    other = sender
    if is_ours:
        named = (opaque(node(one).get("id")) for one in items(node(told.get("to")).get("data")))
        other = next((one for one in named if one is not None and one not in our_ids), "")
        if not other:
            return None
    message = {"mid": mid, **_content(flavour, told)}
    if is_ours:
        message["is_echo"] = True
    ours, theirs = {"id": account_id}, {"id": other}
    return {
        "sender": ours if is_ours else theirs,
        "recipient": theirs if is_ours else ours,
        "timestamp": said_at,
        "message": message,
    }


def _content(flavour: Flavour, told: Node) -> dict[str, Any]:
    content: dict[str, Any] = {}
    said = text(told.get("message"))
    if said:
        content["text"] = said
    sticker = text(told.get("sticker"))
    attachments = [] if not sticker else [_attached("sticker", sticker)]
    for one in items(node(told.get("attachments")).get("data")):
        attached = _attachment(node(one))
        # A sticker may be told twice, as itself and as a picture.
        if attached is not None and attached["payload"]["url"] != sticker:
            attachments.append(attached)
    shared = "share" if flavour.is_instagram else "fallback"
    for one in items(node(told.get("shares")).get("data")):
        link, name = text(node(one).get("link")), text(node(one).get("name"))
        if link or name:
            attachments.append({"type": shared, "payload": {"url": link, "title": name}})
    story = node(told.get("story"))
    mentioned, answered = node(story.get("mention")), node(story.get("reply_to"))
    if link := text(mentioned.get("link")):
        attachments.append(_attached("story_mention", link))
    if answered:
        content["reply_to"] = {"story": {"id": opaque(answered.get("id")), "url": text(answered.get("link"))}}
    if attachments:
        content["attachments"] = attachments
    if not content.keys() & {"text", "attachments"}:
        # Told, but not what: it must not vanish.
        content["is_unsupported"] = True
    return content


def _attachment(told: Node) -> dict[str, Any] | None:
    """An attachment as webhooks have it; None if no address is told."""
    mime = (text(told.get("mime_type")) or "").lower()
    for key, kind in (("image_data", "image"), ("video_data", "video"), ("audio_data", "audio")):
        data = node(told.get(key))
        if url := text(data.get("url")):
            is_sticker = kind == "image" and data.get("render_as_sticker") is True
            return _attached("sticker" if is_sticker else kind, url)
    url = text(told.get("file_url"))
    if not url:
        return None
    sort = mime.partition("/")[0]
    return _attached(sort if sort in {"image", "video", "audio"} else "file", url)


def _attached(kind: str, url: str) -> dict[str, Any]:
    return {"type": kind, "payload": {"url": url}}


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _floor(moment: datetime) -> int:
    """Milliseconds of its whole second: the API tells no smaller parts."""
    return _ms(moment) // 1000 * 1000
