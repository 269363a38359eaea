"""The door of one account: verify, let it become durable, and only then answer 200."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from msgkit.connector.acceptance import Acceptance, NotAccepted, Portion
from msgkit.connector.accounts import AccountStore
from msgkit.connector.app_webhook import AppDoor
from msgkit.connector.contract import Account, Connector, ServesApp, WebhookRequest
from msgkit.connector.door import Door, Refused, looked_up
from msgkit.connector.errors import PayloadInvalid, SignatureInvalid
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

OTHER_ACCOUNT = "counted_other_account"


class WebhookDoor(Door):
    """`POST /webhooks/{kind}/{channel_id}` of one kind of account."""

    def __init__(
        self,
        *,
        connector: Connector[Any],
        kind: str,
        accounts: AccountStore,
        acceptance: Acceptance,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__(kind, clock)
        self._connector = connector
        self._accounts = accounts
        self._acceptance = acceptance
        self.prefix = f"/webhooks/{self._kind}/"

    def route(self) -> Route:
        """For addresses `PublicApp` does not recognise at once, and other methods."""
        return Route(f"{self.prefix}{{channel_id}}", self, methods=["POST"], include_in_schema=False)

    async def take(self, scope: Scope, receive: Receive) -> tuple[bytes, str]:
        """As `Door.take`."""
        account = await looked_up(self._accounts.get(scope["path_params"]["channel_id"]))
        if account is None or account.kind != self._kind:
            raise Refused(404, "unknown_account")
        return await self._accept(await self.read(scope, receive), account)

    async def _accept(self, request: WebhookRequest, account: Account) -> tuple[bytes, str]:
        """Make it durable; returns the body the messenger wants and what happened."""
        try:
            self._connector.verify(request, account)
        except SignatureInvalid as exc:
            raise Refused(403, "forbidden") from exc
        portions, whole = self._own(request, account)
        try:
            parsed, outcome = await self._acceptance.take_all(portions, whole=whole)
        except NotAccepted as exc:
            raise Refused(503, exc.outcome) from exc
        for each in parsed:
            for name in each.counted:
                log.debug("webhook_counted", channel_id=account.channel_id, name=name)
                self.count(f"counted_{name}")
        return parsed[0].reply if parsed else b"", outcome

    def _own(self, request: WebhookRequest, account: Account) -> tuple[list[Portion], WebhookRequest | None]:
        """What of it is about this account, and the whole if all of it is.

        An app of the account's owner may have more numbers than this one; they are nobody's business here.
        """
        all_of_it = [Portion(request, account)], request
        if not isinstance(self._connector, ServesApp):
            return all_of_it
        try:
            parts = self._connector.split(request)
        except PayloadInvalid:
            return all_of_it  # what nobody understands is for a person of this account
        own = [part for part in parts if account.is_meant_by(part.known_as)]
        if len(own) == len(parts):
            whole = request
        else:
            whole = None
            self.count(OTHER_ACCOUNT)
        return [Portion(replace(request, body=part.body), account) for part in own], whole


class PublicApp(FastAPI):
    """The public side of an ingest service: webhooks go straight to their door.

    The frame's middleware stack would take a tenth of the rate. Everything else, errors of the door's address
    included, is ordinary.
    """

    def __init__(self, doors: Sequence[WebhookDoor], title: str, app_doors: Sequence[AppDoor] = ()) -> None:
        super().__init__(title=title, openapi_url=None)
        self._doors = {door.prefix: door for door in doors}
        self._app_doors = {door.path: door for door in app_doors}
        self.router.routes.extend(door.route() for door in doors)
        for app_door in app_doors:
            self.router.routes.extend(app_door.routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            head, _, channel_id = path.rpartition("/")
            door = self._doors.get(f"{head}/")
            if door is not None and channel_id:
                scope["path_params"] = {"channel_id": channel_id}
                await door(scope, receive, send)
                return
            app_door = self._app_doors.get(path)
            if app_door is not None:
                await app_door(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
