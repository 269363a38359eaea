"""What a connector says of itself: abilities, limits, credentials. Others learn a messenger from it alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime

from msgkit.contracts.events import Frozen


class Limit(Frozen):
    """A limit of the messenger with the unit it counts in and where that is written."""

    value: int
    unit: Literal["utf16_units", "chars", "bytes", "pixels", "files", "per_second"]
    source: str


class Abilities(Frozen):
    bot: bool
    buttons: bool
    edit: bool
    delete: bool
    typing: bool
    receipts: bool
    knows_phone: bool
    needs_prior_inbound: bool
    read_marks: bool
    """The client can be told that a message was read."""
    reactions: bool
    templates: bool
    """Outside the reply window approved templates may go out."""
    media_kinds: list[str]


class Manifest(Frozen):
    kind: str
    title: str
    service: str
    abilities: Abilities
    limits: dict[str, Limit]
    """`text`, `caption`, `file` (bytes of any file), `image`, `album` (files), … what the messenger has."""
    reply_window_hours: int | None
    """How long after the client's last message anything but a template may be sent; None: always."""
    human_reply_window_hours: int | None
    """How long a person may answer in a channel with the setting `human_agent`; None: as everybody."""
    human_agent_by_default: bool
    """Whether a new channel has that setting; the messenger must have granted it to the business."""
    credentials_schema: dict[str, Any]


class ManifestAnnounced(Frozen):
    """Said at start and every 30 s on `presence`; a connector silent for 90 s is taken as away."""

    type: Literal["manifest.announced.v1"]
    manifest: Manifest
    internal_url: str
    instance: str
    at: AwareDatetime
