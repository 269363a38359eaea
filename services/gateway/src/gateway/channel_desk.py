"""Creating, changing, switching and removing channels, over two services that know nothing of each other.

Every change is written down before it begins. Each step may be repeated; what stops half-way, because a
service or this one died, is finished or taken back by the sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import SecretStr

from gateway.channel_changes import Change, ChannelChanges
from gateway.clients import Channels, Connector, Connectors, Inbox, not_found, system_caller
from gateway.consumers import Manifests
from gateway.live import to_channel_out
from gateway.schemas import ChannelAdminOut, ChannelIn, ChannelOut, ChannelPatchIn, Session
from msgkit.contracts.access import ADMIN, may_see
from msgkit.contracts.ids import new_id
from msgkit.contracts.internal_api import (
    AccountHealth,
    AccountProbe,
    AccountSettings,
    ChannelPatch,
    ChannelState,
    ConnectAccount,
    StoreChannel,
)
from msgkit.contracts.views import ChannelSettings, ChannelView
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import Caller

log = get_logger(__name__)

DELETED = "deleted"
"""State of a channel that was removed: its dialogues may be read, it is no channel any more."""
UNDO_TRIES = 3
SWEEP_EVERY_SECONDS = 15.0
_TOLD = frozenset(AccountSettings.model_fields)


@dataclass(frozen=True, slots=True)
class ChannelDesk:
    """What the routes of channels work with."""

    inbox: Inbox
    channels: Channels
    manifests: Manifests
    connectors: Connectors
    changes: ChannelChanges

    # --- reading

    async def connector_of(self, kind: str) -> Connector:
        known = self.manifests.of(kind)
        if known is None:
            detail = "Цей месенджер зараз недоступний. Спробуйте за хвилину."
            raise Problem(503, "connector_away", detail, headers={"Retry-After": "30"})
        return await self.connectors.at(known.manifest.service, known.internal_url)

    async def channel_of(self, session: Session, channel_id: str) -> ChannelView:
        """A channel this user works with or administers; anything else does not exist."""
        view = (await self.channels.of(session.tenant_id)).get(channel_id)
        if view is None or view.state == DELETED or not _is_for(session, view):
            raise not_found()
        return view

    async def seen_by(self, session: Session) -> list[ChannelView]:
        known = (await self.channels.of(session.tenant_id)).values()
        seen = (view for view in known if view.state != DELETED and _is_for(session, view))
        return sorted(seen, key=lambda view: (view.created_at, view.id))

    def shown(self, session: Session, view: ChannelView) -> ChannelOut:
        return self.to_admin_out(view) if session.is_admin else to_channel_out(view, self.manifests)

    def to_admin_out(self, view: ChannelView) -> ChannelAdminOut:
        return ChannelAdminOut(
            **dict(to_channel_out(view, self.manifests)),
            state=view.state,
            account_name=view.account_name,
            credentials_hint=view.credentials_hint,
            webhook_url=view.webhook_url,
            settings=view.settings,
            created_at=view.created_at,
            rev=view.rev,
        )

    # --- creating

    async def connect(self, session: Session, body: ChannelIn) -> ChannelView:
        """The three steps: probe and store pending, store the settings, register the webhook.

        Raises:
            Problem: the reason of whoever refused; nothing half-created stays.
            StoreUnavailable: MongoDB does not answer.
        """
        connector = await self.connector_of(body.kind)
        caller = session.caller
        change = await self.changes.begin(session.tenant_id, new_id(), body.kind, "create")
        account = _order(body.kind, session.tenant_id, body.credentials, body.api_base)
        known = self.manifests.of(body.kind)
        by_default = known is not None and known.manifest.human_agent_by_default
        settings = body.settings.over(ChannelSettings(human_agent=by_default))
        view: ChannelView | None = None
        is_certain = False
        try:
            probe = await connector.connect(caller, change.channel_id, account)
            if _told(settings) != _told(ChannelSettings()):
                await connector.apply_settings(caller, change.channel_id, _told(settings))
            await self.changes.reached(change, "connected")
            stored = _stored(body.kind, body.title, settings, probe)
            await self.inbox.store_channel(caller, change.channel_id, stored)
            await self.changes.reached(change, "stored")
            health = await connector.activate(caller, change.channel_id)
            view = await self.inbox.set_channel_state(caller, change.channel_id, _state(health))
        except Problem as exc:
            is_certain = exc.status < 500
            raise
        finally:
            if view is not None:
                await self._end(change)
            elif await self._undone(connector, caller, change.channel_id) and is_certain:
                # Else a step whose answer was lost may still be done: the sweep looks again later.
                await self._end(change)
            self.channels.spoil(session.tenant_id)
        return view

    async def _undone(self, connector: Connector, caller: Caller, channel_id: str) -> bool:
        """Remove both halves, whether they exist or not; False if one of them could not be removed."""
        results = [
            await self._tried(remove, caller, channel_id)
            for remove in (self.inbox.delete_channel, connector.forget)
        ]
        return all(results)

    async def _tried(self, remove: _Removal, caller: Caller, channel_id: str) -> bool:
        for _ in range(UNDO_TRIES):
            try:
                await remove(caller, channel_id)
            except Problem as exc:
                if exc.status == 404:
                    return True
                log.warning("channel_undo_failed", channel_id=channel_id, code=exc.code)
            else:
                return True
        return False

    # --- changing

    async def change(self, session: Session, channel_id: str, body: ChannelPatchIn) -> ChannelView:
        """Only what is named changes. The messenger is asked first; what it refuses changes nothing.

        Raises:
            Problem: 409 `other_account` for credentials of another account, 422 with the messenger's reason.
            StoreUnavailable: MongoDB does not answer.
        """
        current = await self.channel_of(session, channel_id)
        settings = None if body.settings is None else body.settings.over(current.settings)
        try:
            view = await self._renewed(session, current, body, settings)
            if body.enabled is None and (body.credentials is None or current.state == "disabled"):
                return view
            return await self._switched(session, view, on=body.enabled is not False)
        finally:
            self.channels.spoil(session.tenant_id)

    async def _renewed(
        self, session: Session, current: ChannelView, body: ChannelPatchIn, settings: ChannelSettings | None
    ) -> ChannelView:
        """New credentials, title and settings."""
        caller = session.caller
        probe: AccountProbe | None = None
        if body.credentials is not None:
            order = _order(current.kind, session.tenant_id, body.credentials, None)
            connector = await self.connector_of(current.kind)
            probe = await connector.connect(caller, current.id, order)
            log.info("channel_credentials_changed", **_who(session, current.id))
        if settings is not None and (_names_told(body) or _told(settings) != _told(current.settings)):
            connector = await self.connector_of(current.kind)
            await connector.apply_settings(caller, current.id, _told(settings))
        named = None if body.settings is None else body.settings.named()
        if probe is not None:
            stored = _stored(current.kind, body.title or current.title, named or ChannelSettings(), probe)
            return await self.inbox.store_channel(caller, current.id, stored)
        if body.title is None and named is None:
            return current
        patch = ChannelPatch(title=body.title, settings=named)
        view = await self.inbox.patch_channel(caller, current.id, patch)
        log.info("channel_settings_changed", **_who(session, current.id))
        return view

    async def _switched(self, session: Session, view: ChannelView, *, on: bool) -> ChannelView:
        """Switch on (also: register again), or off."""
        connector = await self.connector_of(view.kind)
        change = await self.changes.begin(session.tenant_id, view.id, view.kind, "switch")
        switch = connector.activate if on else connector.disable
        try:
            health = await switch(session.caller, view.id)
        except Problem as exc:
            if exc.status < 500:
                await self._end(change)
            raise
        switched = await self.inbox.set_channel_state(session.caller, view.id, _state(health))
        await self._end(change)
        log.info("channel_switched", on=on, **_who(session, view.id))
        return switched

    async def rotate_secret(self, session: Session, channel_id: str) -> AccountHealth:
        """A new secret for the webhook, while messages come in."""
        view = await self.channel_of(session, channel_id)
        connector = await self.connector_of(view.kind)
        health = await connector.rotate_secret(session.caller, channel_id)
        log.info("channel_secret_rotated", **_who(session, channel_id))
        return health

    async def delete(self, session: Session, channel_id: str) -> None:
        """Disconnect the account; the dialogues stay. Once begun it is finished, also after a crash."""
        view = await self.channel_of(session, channel_id)
        connector = await self.connector_of(view.kind)
        change = await self.changes.begin(session.tenant_id, channel_id, view.kind, "delete")
        try:
            # The account first: a webhook of a channel nobody knows would have no home.
            await connector.forget(session.caller, channel_id)
            await self.inbox.delete_channel(session.caller, channel_id)
        finally:
            self.channels.spoil(session.tenant_id)
        await self._end(change)
        log.info("channel_deleted", kind=view.kind, **_who(session, channel_id))

    async def _end(self, change: Change) -> None:
        try:
            await self.changes.end(change)
        except StoreUnavailable as exc:
            log.warning("channel_change_not_ended", channel_id=change.channel_id, reason=str(exc))

    # --- what was left half-way

    async def sweep_forever(self) -> None:
        """Settle what was left, by this replica or by one that is gone."""
        while True:
            try:
                while (change := await self.changes.claim()) is not None:
                    await self.settle(change)
            except StoreUnavailable as exc:
                log.warning("channel_sweep_waits", reason=str(exc))
            await asyncio.sleep(SWEEP_EVERY_SECONDS)

    async def settle(self, change: Change) -> None:
        """Finish a change that was left, or take it back.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        caller = system_caller(change.tenant_id, frozenset({ADMIN}))
        try:
            connector = await self.connector_of(change.kind)
            if not await self._agreed(connector, caller, change):
                await _forgotten(connector.forget, caller, change.channel_id)
                await _forgotten(self.inbox.delete_channel, caller, change.channel_id)
        except Problem as exc:
            log.warning("channel_change_not_settled", channel_id=change.channel_id, code=exc.code)
            await self.changes.again(change)
            return
        finally:
            self.channels.spoil(change.tenant_id)
        log.info("channel_change_settled", channel_id=change.channel_id, intent=change.intent)
        await self.changes.end(change)

    async def _agreed(self, connector: Connector, caller: Caller, change: Change) -> bool:
        """Tell inbox how the account stands; False if the channel is to go."""
        if change.intent == "delete":
            return False
        try:
            health = await connector.health(caller, change.channel_id)
        except Problem as exc:
            if exc.status != 404:
                raise
            # A channel that worked is never removed by itself.
            return change.intent == "switch"
        if health.state == "pending" and change.intent == "create":
            return False
        try:
            await self.inbox.set_channel_state(caller, change.channel_id, _state(health))
        except Problem as exc:
            if exc.status != 404:
                raise
            return False
        return True


class _Removal(Protocol):
    async def __call__(self, caller: Caller, channel_id: str) -> None: ...


async def _forgotten(remove: _Removal, caller: Caller, channel_id: str) -> None:
    try:
        await remove(caller, channel_id)
    except Problem as exc:
        if exc.status != 404:
            raise


def _is_for(session: Session, view: ChannelView) -> bool:
    return session.is_admin or may_see(session.roles, view.settings.roles)


def _who(session: Session, channel_id: str) -> dict[str, str]:
    return {"channel_id": channel_id, "tenant_id": session.tenant_id, "user_id": session.user_id}


def _order(
    kind: str, tenant_id: str, credentials: Mapping[str, SecretStr], api_base: str | None
) -> ConnectAccount:
    return ConnectAccount(
        kind=kind,
        tenant_id=tenant_id,
        credentials={name: value.get_secret_value() for name, value in credentials.items()},
        api_base=api_base,
    )


def _told(settings: ChannelSettings) -> AccountSettings:
    """The part the messenger itself must know."""
    return AccountSettings(
        welcome=settings.welcome, commands=settings.commands, human_agent=settings.human_agent
    )


def _names_told(body: ChannelPatchIn) -> bool:
    """Whether it names what the messenger must know.

    The account may have other settings than inbox knows of: those of a change that stopped half-way.
    """
    return body.settings is not None and not _TOLD.isdisjoint(body.settings.model_fields_set)


def _stored(kind: str, title: str, settings: ChannelSettings, probe: AccountProbe) -> StoreChannel:
    return StoreChannel(
        kind=kind,
        title=title,
        account_id=probe.account_id,
        account_name=probe.account_name,
        credentials_hint=probe.credentials_hint,
        webhook_url=probe.webhook_url,
        settings=settings,
    )


def _state(health: AccountHealth) -> ChannelState:
    """How inbox should show an account: whether it is on, and whether it works, are two things."""
    state: Literal["active", "disabled"] = "disabled" if health.state == "disabled" else "active"
    return ChannelState(state=state, connected=health.connected, problem=health.problem)
