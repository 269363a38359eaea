"""The door of a whole app: one webhook speaks of many accounts, whoever's they are.

It is cut into what it says of whom, and each account gets its own and nothing else: in events, in the journal
and in quarantine. What is for nobody we know is kept without a tenant, for those who run the house.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope

from msgkit.connector.acceptance import Acceptance, NotAccepted, Portion
from msgkit.connector.accounts import AccountStore, KnownAs
from msgkit.connector.contract import AppPart, ServesApp, WebhookRequest
from msgkit.connector.door import RETRY_AFTER_SECONDS, Door, Refused, looked_up
from msgkit.connector.errors import PayloadInvalid, SignatureInvalid
from msgkit.connector.quarantine import Quarantine
from msgkit.connector.settings import AppKeys
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable

log = get_logger(__name__)


class AppDoor(Door):
    """`GET` and `POST /webhooks/{kind}`, and `GET /webhooks/{kind}/{channel_id}`, of one kind of account."""

    def __init__(
        self,
        *,
        connector: ServesApp,
        kind: str,
        keys: AppKeys,
        accounts: AccountStore,
        acceptance: Acceptance,
        quarantine: Quarantine,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__(kind, clock)
        self._connector = connector
        self._keys = keys
        self._accounts = accounts
        self._acceptance = acceptance
        self._quarantine = quarantine
        self.path = f"/webhooks/{kind}"

    def routes(self) -> list[Route]:
        """The handshakes, and this door for addresses `PublicApp` does not recognise at once."""
        return [
            Route(self.path, self, methods=["POST"], include_in_schema=False),
            Route(self.path, self._app_handshake, methods=["GET"], include_in_schema=False),
            Route(
                f"{self.path}/{{channel_id}}",
                self._account_handshake,
                methods=["GET"],
                include_in_schema=False,
            ),
        ]

    # --- the handshake

    async def _app_handshake(self, request: Request) -> Response:
        if self._keys == AppKeys():
            return self._refusal(Refused(404, "not_configured"))
        return self._shaken(request, self._keys.verify_tokens)

    async def _account_handshake(self, request: Request) -> Response:
        try:
            account = await looked_up(self._accounts.get(request.path_params["channel_id"]))
        except Refused as exc:
            return self._refusal(exc)
        if account is None or account.kind != self._kind:
            return self._refusal(Refused(404, "unknown_account"))
        # Where we cannot register the address, somebody types it into the dashboard of the account's own app,
        # with a word he can know.
        return self._shaken(request, (*account.webhook_secrets, *self._keys.verify_tokens))

    def _shaken(self, request: Request, tokens: Sequence[str]) -> Response:
        try:
            challenge = self._connector.shake_hands(request.scope.get("query_string", b""), tokens)
        except SignatureInvalid:
            return self._refusal(Refused(403, "forbidden"))
        self.count("handshake")
        # The challenge is the caller's own words: nothing may read them as a page.
        return PlainTextResponse(challenge, headers={"x-content-type-options": "nosniff"})

    def _refusal(self, refused: Refused) -> Response:
        self.count(refused.outcome)
        headers = {"retry-after": RETRY_AFTER_SECONDS.decode()} if refused.status == 503 else None
        return Response(status_code=refused.status, headers=headers)

    # --- webhooks

    async def take(self, scope: Scope, receive: Receive) -> tuple[bytes, str]:
        """As `Door.take`."""
        if not self._keys.secrets:
            raise Refused(404, "not_configured")
        request = await self.read(scope, receive)
        try:
            self._connector.verify_app(request, self._keys.secrets)
        except SignatureInvalid as exc:
            raise Refused(403, "forbidden") from exc
        try:
            return b"", await self._accept(request)
        except NotAccepted as exc:
            raise Refused(503, exc.outcome) from exc

    async def _accept(self, request: WebhookRequest) -> str:
        try:
            parts = self._connector.split(request)
        except PayloadInvalid as exc:
            return await self._keep(request.body, None, str(exc))
        except Exception as exc:
            # Our bug; with a 5xx the messenger would repeat it for a week.
            log.exception("app_webhook_not_split", kind=self._kind)
            return await self._keep(request.body, None, f"our translation failed: {type(exc).__name__}")
        if not parts:
            return "without_envelope"
        # Mostly one kind: a webhook of the messengers we know speaks of one alone.
        kinds = {part.kind or self._kind for part in parts}
        known = {kind: await self._known(kind, parts) for kind in kinds}
        portions = [
            Portion(replace(request, body=part.body), account)
            for part in parts
            for account in known[part.kind or self._kind].accounts.get(part.known_as, ())
        ]
        outcome = await self._take_known(request, portions, parts) if portions else ""
        for part in parts:
            here = known[part.kind or self._kind]
            if part.known_as not in here.accounts and part.known_as not in here.sealed:
                kept = await self._keep(part.body, part.known_as, "no account of ours has this id", part.kind)
                outcome = outcome or kept
        if any(here.sealed for here in known.values()):
            # The others have theirs, and a repeat adds nothing to it; this part comes again until the key is
            # back. A 200 would lose it: nobody can say for sure what an account without secrets was told.
            raise NotAccepted("secrets_unavailable")
        return outcome

    async def _take_known(
        self, request: WebhookRequest, portions: Sequence[Portion], parts: Sequence[AppPart]
    ) -> str:
        # One account, and every part is its own: then it may have the webhook as it came.
        is_of_one = len(portions) == len(parts) and len({each.account.channel_id for each in portions}) == 1
        parsed, outcome = await self._acceptance.take_all(portions, whole=request if is_of_one else None)
        for portion, each in zip(portions, parsed, strict=True):
            for name in each.counted:
                log.debug("webhook_counted", channel_id=portion.account.channel_id, name=name)
                self.count(f"counted_{name}")
        return outcome

    async def _known(self, kind: str, parts: Sequence[AppPart]) -> KnownAs:
        names = {part.known_as for part in parts if (part.kind or self._kind) == kind}
        return await looked_up(self._accounts.known_as(kind, names))

    async def _keep(self, body: bytes, known_as: str | None, reason: str, kind: str | None = None) -> str:
        """Keep what is of nobody we know; the word for the counter.

        Raises:
            NotAccepted: MongoDB did not confirm.
        """
        try:
            await self._quarantine.keep_unowned(kind or self._kind, known_as, body, reason)
        except StoreUnavailable as exc:
            raise NotAccepted("store_unavailable") from exc
        return "quarantined" if known_as is None else "unknown_account"
