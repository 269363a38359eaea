"""The templates of a channel, as its messenger approved them: asked when wanted, believed for a minute."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.channel_desk import ChannelDesk
from gateway.schemas import Session, TemplateIn
from gateway.template_text import FilledTemplate, TemplateRefused, fill
from msgkit.contracts.internal_api import MessageTemplate
from msgkit.contracts.views import ChannelView
from msgkit.runtime.problems import Problem

TTL_SECONDS = 60.0
"""Asking is counted: WhatsApp lets a small business account be asked 200 times an hour."""
MAX_CHANNELS = 2_000


class Templates:
    def __init__(self, desk: ChannelDesk, clock: Callable[[], float]) -> None:
        """
        Args:
            desk: Knows who may use which channel, and where its connector is.
            clock: Seconds that only rise.
        """
        self._desk = desk
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, list[MessageTemplate]]] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}

    async def of(self, session: Session, channel_id: str) -> list[MessageTemplate]:
        """All of a channel this user works with; none where the messenger has no templates.

        Raises:
            Problem: 404 for a channel that is not theirs, 503 while its connector or messenger is away.
        """
        view = await self._desk.channel_of(session, channel_id)
        announced = self._desk.manifests.of(view.kind)
        if announced is not None and not announced.manifest.abilities.templates:
            return []
        return await self._fresh(session, view)

    async def filled(self, session: Session, channel_id: str, wanted: TemplateIn) -> FilledTemplate:
        """The template an operator chose, with its places filled in.

        Raises:
            Problem: 422 if it is not known, not to be used from here, or a place is not filled in as it must
                be; else as `of`.
        """
        found = _find(await self.of(session, channel_id), wanted)
        if found is None:
            raise Problem(
                422,
                "unknown_template",
                "Такого шаблону в цьому каналі немає. Оновіть список шаблонів і виберіть інший.",
            )
        try:
            return fill(found, wanted.values)
        except TemplateRefused as exc:
            raise Problem(422, exc.code, exc.text, place=exc.place) from exc

    async def _fresh(self, session: Session, view: ChannelView) -> list[MessageTemplate]:
        # One question for all who ask at once.
        async with self._asking.setdefault(view.id, asyncio.Lock()):
            known = self._known.get(view.id)
            if known is not None and self._clock() - known[0] <= TTL_SECONDS:
                return known[1]
            connector = await self._desk.connector_of(view.kind)
            found = await connector.templates(session.caller, view.id)
            self._known[view.id] = (self._clock(), found)
            self._known.move_to_end(view.id)
            if len(self._known) > MAX_CHANNELS:
                gone, _ = self._known.popitem(last=False)
                self._asking.pop(gone, None)
            return found


def _find(templates: Sequence[MessageTemplate], wanted: TemplateIn) -> MessageTemplate | None:
    return next((t for t in templates if (t.name, t.language) == (wanted.name, wanted.language)), None)
