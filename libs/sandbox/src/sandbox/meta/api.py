"""The Graph API of pages and Instagram: `/graph-meta/{version}/…` is graph.facebook.com, `/graph-instagram/…`
graph.instagram.com, with Meta's own answers and errors.

Every call needs a token of that host that opens the object. A scripted fault comes after the token is checked
and before anything is done.
"""

import json
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from aiohttp import web

from sandbox.faults import META_FAULTS, Fault, FaultPlan
from sandbox.files import Files
from sandbox.ledger import Ledger
from sandbox.meta.calls import Call, Called
from sandbox.meta.cdn import MAX_BYTES, Cdn
from sandbox.meta.codes import BAD_PARAMETER, TOO_BIG, UNKNOWN_PATH, GraphRefusal, bad_parameter
from sandbox.meta.conversations import Conversations
from sandbox.meta.management import CONTROLS, Management, nothing
from sandbox.meta.network import Meta
from sandbox.meta.sending import Sending
from sandbox.meta.state import Business, Json, Kind, Token
from sandbox.meta.tokens import Tokens
from sandbox.serving import Serving
from sandbox.uploads import Form, TooBig, form_of

VERSIONS = ("v21.0", "v22.0", "v23.0", "v24.0", "v25.0", "v26.0")
"""What lives in November 2026. Source: the fact sheet, 0.1."""
HOSTS: dict[str, Kind] = {"graph-meta": "facebook", "graph-instagram": "instagram"}
_TOOLS = ("debug_token", "refresh_access_token")
_RATE_CODES = frozenset({4, 9, 17, 32, 613, 80002, 80006})
_FAULT_HTTP = {"429": 429, "500": 500, "502": 502}
_SILENT = ("hang", "accept_then_drop", "reset")
_AFTER_ALL = ("slow", "usage", "accept_then_drop")
"""Faults that let the call have its effect."""

Doing = Callable[[Call], Awaitable[Called]]


class GraphApi:
    """The methods a business may call."""

    def __init__(
        self,
        meta: Meta,
        tokens: Tokens,
        sending: Sending,
        conversations: Conversations,
        management: Management,
        cdn: Cdn,
        files: Files,
        faults: FaultPlan,
        ledger: Ledger,
        serving: Serving,
    ) -> None:
        self._meta = meta
        self._tokens = tokens
        self._sending = sending
        self._conversations = conversations
        self._management = management
        self._cdn = cdn
        self._files = files
        self._faults = faults
        self._ledger = ledger
        self._serving = serving

    def routes(self) -> list[web.RouteDef]:
        """The addresses businesses call."""
        host = "/{host:graph-(?:meta|instagram)}"
        tools = f"{{object_id:{'|'.join(_TOOLS)}}}"
        begin = f"{host}/{{version:v[0-9]+[.][0-9]+}}/{{object_id:[A-Za-z0-9_$.:=-]+}}"
        return [
            web.get(f"{host}/{tools}", self._serve),
            web.route("*", begin, self._serve),
            web.route("*", f"{begin}/", self._serve),
            web.route("*", f"{begin}/{{edge}}", self._serve),
        ]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        called, error, status = Called(), None, 200
        fault: Fault | None = None
        method, client, business = request.match_info.get("edge", "object"), None, None
        async with AsyncExitStack() as stack:
            try:
                call = await self._call(request, stack)
                mine = self._meta.of_holder(call.token.holder_id)
                self._learn_base(mine, request)
                method, do = self._doing(mine, call)
                business, client = self._about(mine, call)
                channel_id = None if business is None else business.channel_id
                fault = self._faults.for_call(method, channel_id, client, META_FAULTS)
                _refuse_as_scripted(fault)
                if fault is None or fault.kind in _AFTER_ALL or (fault.kind == "hang" and fault.accepted):
                    called = await do(replace(call, fault=fault))
            except GraphRefusal as refused:
                error, status, called.answer = refused, refused.http, refused.body()
        called.business = called.business or business
        if fault is not None and fault.kind in _SILENT:
            self._log(method, called, client, error, None, fault)
            return await self._serving.silence(request, fault)
        if fault is not None and fault.kind in _FAULT_HTTP:
            status = _FAULT_HTTP[fault.kind]
            self._log(method, called, client, error, status, fault)
            headers = {"Retry-After": str(fault.retry_after)} if status == 429 else {}
            return web.Response(status=status, text="<html><body>Sorry</body></html>", headers=headers)
        self._log(method, called, client, error, status, fault)
        if fault is not None and fault.kind == "slow":
            await self._serving.wait(fault.seconds)
        headers = _usage(called.business, error, fault)
        return web.json_response(called.answer, status=status, headers=headers)

    async def _call(self, request: web.Request, stack: AsyncExitStack) -> Call:
        """The call, its version, token and parameters checked."""
        host = HOSTS[request.match_info["host"]]
        version = request.match_info.get("version")
        if version is not None and version not in VERSIONS:
            raise GraphRefusal(UNKNOWN_PATH, message=f"Unknown path components: /{version}")
        token = self._tokens.of(request, host)
        object_id = request.match_info["object_id"]
        if object_id == "me":
            object_id = token.holder_id
        body: Json = {key: value for key, value in request.query.items() if key != "access_token"}
        form: Form | None = None
        if request.content_type == "multipart/form-data":
            try:
                form = await stack.enter_async_context(form_of(request, self._files.draft, MAX_BYTES))
            except TooBig as exc:
                raise GraphRefusal(BAD_PARAMETER, TOO_BIG) from exc
            except ValueError as exc:
                raise bad_parameter("The body is no valid form.") from exc
            body |= {key: _decoded(value) for key, value in form.values.items() if key != "access_token"}
        elif request.method == "POST":
            body |= await _parameters(request)
        return Call(request, token, object_id, body, form=form)

    def _doing(self, mine: list[Business], call: Call) -> tuple[str, Doing]:
        """What a call wants, and its name for faults and the ledger.

        Raises:
            GraphRefusal: there is no such thing, or this token does not open it.
        """
        edge = call.request.match_info.get("edge")
        if call.object_id in _TOOLS and edge is None:
            return call.object_id, self._tool(call.object_id, call.token)
        if edge is None:
            return self._object(mine, call)
        if call.object_id != call.token.holder_id:
            return self._of_conversation(mine, edge, call)
        if call.verb == "POST" and edge in CONTROLS:
            return edge, _later(lambda c: self._management.control(*self._management.whose(mine, c), edge, c))
        do = self._edge(mine, call.verb, edge)
        if do is None:
            raise nothing(call)
        action = call.body.get("sender_action")
        return (action if edge == "messages" and isinstance(action, str) else edge), do

    def _edge(self, mine: list[Business], verb: str, edge: str) -> Doing | None:
        """What an edge of the page or account itself does."""
        manage = self._management
        known: dict[tuple[str, str], Doing] = {
            ("POST", "messages"): lambda c: self._sending.post(mine, c),
            ("POST", "message_attachments"): lambda c: self._cdn.upload(_platform(mine, c), c),
            ("POST", "subscribed_apps"): _later(lambda c: manage.subscribe(mine, c)),
            ("GET", "subscribed_apps"): _later(lambda c: manage.subscribed(mine, c)),
            ("DELETE", "subscribed_apps"): _later(lambda c: manage.unsubscribe(mine, c)),
            ("GET", "conversations"): _later(lambda c: self._conversations.list(mine, c)),
        }
        return known.get((verb, edge))

    def _tool(self, name: str, token: Token) -> Doing:
        if (name, token.host) == ("debug_token", "facebook"):
            return _later(self._tokens.debug)
        if (name, token.host) == ("refresh_access_token", "instagram"):
            return _later(self._tokens.refresh)

        async def refuse(call: Call) -> Called:
            raise nothing(call)

        return refuse

    def _object(self, mine: list[Business], call: Call) -> tuple[str, Doing]:
        if call.verb != "GET":
            raise nothing(call)
        name = call.object_id
        account = next((b for b in mine if b.kind == "instagram" and name == b.account.id), None)
        if account is not None:
            return "object", _later(lambda c: self._management.account(account, c))
        if name == call.token.holder_id:
            return "object", _later(lambda c: self._management.page(mine, c))
        for business in mine:
            for chat in business.chats.values():
                if name == chat.thread_id:
                    return "conversation", _later(
                        lambda c, b=business, t=chat: self._conversations.conversation(b, t, c)  # type: ignore[misc]
                    )
            chat_of = business.by_contact.get(name)
            if chat_of is not None:
                return "profile", _later(
                    lambda c, b=business, t=chat_of: self._management.profile(b, t, c)  # type: ignore[misc]
                )
            for chat in business.chats.values():
                message = chat.message(name)
                if message is not None:
                    return "message", _later(
                        lambda c, b=business, t=chat, m=message: self._conversations.message(b, t, m, c)  # type: ignore[misc]
                    )
        raise nothing(call)

    def _of_conversation(self, mine: list[Business], edge: str, call: Call) -> tuple[str, Doing]:
        for business in mine:
            for chat in business.chats.values():
                if (call.object_id, edge, call.verb) == (chat.thread_id, "messages", "GET"):
                    return "conversation", _later(
                        lambda c, b=business, t=chat: self._conversations.messages(b, t, c)  # type: ignore[misc]
                    )
        raise nothing(call)

    def _about(self, mine: list[Business], call: Call) -> tuple[Business | None, str | None]:
        """Which page or account a call is about, and which client, for faults of one of them."""
        found = self._sending.addressee(mine, call.body)
        if found is not None:
            return found[0], found[1].user.client
        for business in mine:
            chat = business.by_contact.get(call.object_id)
            chat = chat or next((c for c in business.chats.values() if c.thread_id == call.object_id), None)
            if chat is not None:
                return business, chat.user.client
        platform = call.body.get("platform")
        if call.token.host == "facebook" and isinstance(platform, str):
            wanted = "instagram" if platform == "instagram" else "facebook"
            return next((b for b in mine if b.kind == wanted), None), None
        named = next((b for b in mine if b.account.id == call.object_id), None)
        return named or (mine[0] if mine else None), None

    def _learn_base(self, mine: list[Business], request: web.Request) -> None:
        """Addresses of files must lead here from where the business stands: it has just called some."""
        base = f"{request.scheme}://{request.host}"
        for business in mine:
            if business.base != base:
                business.base = base
                self._meta.changed()

    def _log(
        self,
        method: str,
        called: Called,
        client: str | None,
        error: GraphRefusal | None,
        status: int | None,
        fault: Fault | None,
    ) -> None:
        message, chat, business = called.message, called.chat, called.business
        channel_id = None if business is None else business.channel_id
        who = client if chat is None else chat.user.client
        chat_id = None if chat is None else chat.id
        self._ledger.api(
            channel_id=channel_id,
            client=who,
            chat_id=chat_id,
            message_id=None if message is None else message.id,
            text=None if message is None else message.text or None,
            kind=None if message is None else message.kind,
            method=method,
            status=status,
            error=None if error is None else error.message,
            accepted=message is not None,
            fault=None if fault is None else fault.kind,
        )
        if called.violation is not None:
            self._ledger.api(
                channel_id=channel_id,
                client=who,
                chat_id=chat_id,
                message_id=None if message is None else message.id,
                text=None,
                kind="policy_violation",
                method="policy_violation",
                status=None,
                error=called.violation,
                accepted=False,
                fault=None,
            )


def _later(do: Callable[[Call], Called]) -> Doing:
    async def done(call: Call) -> Called:
        return do(call)

    return done


def _platform(mine: list[Business], call: Call) -> Business:
    """Whose upload it is: a page's for Messenger unless it says Instagram."""
    wanted = (
        "instagram"
        if call.body.get("platform") == "instagram" or call.token.host == "instagram"
        else "facebook"
    )
    found = next((b for b in mine if b.kind == wanted), None)
    if found is None:
        raise bad_parameter(f"Param platform: this object has no {wanted} account.")
    return found


def _refuse_as_scripted(fault: Fault | None) -> None:
    if fault is not None and fault.kind == "error":
        raise GraphRefusal(
            fault.code,
            fault.subcode,
            message=fault.details,
            http=fault.http_status,
            transient=fault.transient,
        )


def _usage(business: Business | None, error: GraphRefusal | None, fault: Fault | None) -> dict[str, str]:
    """How much of what is allowed is used. Source: the fact sheet, 2.7."""
    if business is None:
        return {}
    is_over = error is not None and error.code in _RATE_CODES
    percent = fault.percent if fault is not None and fault.kind == "usage" else 100 if is_over else 1
    used = {
        "type": "messenger" if business.kind == "facebook" else "instagram",
        "call_count": percent,
        "total_cputime": 1,
        "total_time": 1,
        "estimated_time_to_regain_access": 0 if fault is None else fault.minutes,
    }
    return {"X-Business-Use-Case-Usage": json.dumps({business.account.id: [used]})}


async def _parameters(request: web.Request) -> Json:
    """What a POST says: JSON, or a form."""
    if request.content_type == "application/x-www-form-urlencoded":
        return {key: _decoded(str(value)) for key, value in (await request.post()).items()}
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError as exc:
        raise bad_parameter("The body is no valid JSON.") from exc
    if not isinstance(body, dict):
        raise bad_parameter("The body must be a JSON object.")
    return {key: value for key, value in body.items() if key != "access_token"}


def _decoded(value: str) -> object:
    """A field of a form; objects and lists stand there as JSON."""
    if not re.match(r"\s*[\[{]", value):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
