"""The Graph API of WhatsApp: `/graph/{version}/…`, with Meta's own answers and errors.

Every call needs a token of a number that the id belongs to. A scripted fault comes after the token is
checked and before anything is done.
"""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from sandbox.faults import WHATSAPP_FAULTS, Fault, FaultPlan
from sandbox.ledger import Ledger
from sandbox.serving import Serving
from sandbox.whatsapp.calls import Call, Called
from sandbox.whatsapp.codes import (
    BAD_PARAMETER,
    BAD_TOKEN,
    GraphRefusal,
    meaning,
    no_such_object,
)
from sandbox.whatsapp.management import Management
from sandbox.whatsapp.media import MediaDesk
from sandbox.whatsapp.messages import Messages
from sandbox.whatsapp.state import Json, Number, Waba, WhatsApp

_FAULT_HTTP = {"429": 429, "500": 500, "502": 502}
_SILENT = ("hang", "accept_then_drop", "reset")
_AFTER_ALL = ("slow", "fails_later", "statuses", "accept_then_drop")
"""Faults that let the call have its effect."""
_OBJECT = r"{object_id:[A-Za-z0-9_]+}"

Doing = Callable[[Call], Awaitable[Called]]


class GraphApi:
    """The methods a business may call."""

    def __init__(
        self,
        whatsapp: WhatsApp,
        messages: Messages,
        desk: MediaDesk,
        management: Management,
        faults: FaultPlan,
        ledger: Ledger,
        serving: Serving,
    ) -> None:
        self._whatsapp = whatsapp
        self._messages = messages
        self._desk = desk
        self._management = management
        self._faults = faults
        self._ledger = ledger
        self._serving = serving

    def routes(self) -> list[web.RouteDef]:
        """The addresses businesses call."""
        begin = "/graph/{version:v[0-9]+[.][0-9]+}"
        return [
            web.get("/graph/debug_token", self._debug),
            web.get(f"{begin}/debug_token", self._debug),
            web.route("*", f"{begin}/{_OBJECT}", self._object),
            web.route("*", f"{begin}/{_OBJECT}/", self._object),
            web.route("*", f"{begin}/{_OBJECT}/{{edge}}", self._edge),
        ]

    async def _debug(self, request: web.Request) -> web.StreamResponse:
        async def do(call: Call) -> Called:
            return self._management.debug_token(call)

        return await self._serve(request, "debug_token", None, None, do)

    async def _object(self, request: web.Request) -> web.StreamResponse:
        """A number or a file by its id."""
        object_id = request.match_info["object_id"]
        number = self._whatsapp.numbers.get(object_id)
        if number is not None:
            return await self._serve(request, "phone_number", number, None, self._number(number))
        method = "delete_media" if request.method == "DELETE" else "media_url"
        media = self._whatsapp.media.get(object_id)
        owner = None if media is None else self._whatsapp.numbers[media.phone_number_id]

        async def do(call: Call) -> Called:
            found = self._desk.found(object_id, call)
            if request.method == "GET":
                return self._desk.described(found)
            if request.method == "DELETE":
                return self._desk.delete(found)
            raise no_such_object(object_id, request.method)

        client = None if media is None else media.file.client or None
        return await self._serve(request, method, owner, client, do)

    def _number(self, number: Number) -> Doing:
        async def do(call: Call) -> Called:
            if call.request.method == "GET":
                return self._management.number(number, call)
            if call.request.method == "POST":
                return await self._management.change_number(number, call)
            raise no_such_object(call.object_id, call.request.method)

        return do

    async def _edge(self, request: web.Request) -> web.StreamResponse:
        """An edge of a number or of a business account."""
        object_id, edge = request.match_info["object_id"], request.match_info["edge"]
        number = self._whatsapp.numbers.get(object_id)
        waba = self._whatsapp.wabas.get(object_id)
        method = edge
        if number is not None:
            do = self._number_edge(number, edge)
        elif waba is not None:
            do = self._waba_edge(waba, edge)
        else:
            do = _nothing
        owner = number
        if owner is None and waba is not None:
            owner = next(n for n in self._whatsapp.numbers.values() if n.waba is waba)
        return await self._serve(request, method, owner, None, do)

    def _number_edge(self, number: Number, edge: str) -> Doing:
        async def do(call: Call) -> Called:
            match call.request.method, edge:
                case "POST", "messages":
                    return self._messages.post(number, call)
                case "POST", "media":
                    return await self._desk.upload(number, call)
                case "POST", "smb_app_data":
                    return self._management.sync(number, call)
            return await _nothing(call)

        return do

    def _waba_edge(self, waba: Waba, edge: str) -> Doing:
        async def do(call: Call) -> Called:
            numbers = [
                number
                for number in self._whatsapp.numbers.values()
                if number.waba is waba and number.account.token == call.token
            ]
            manage = self._management
            if (call.request.method, edge) == ("POST", "subscribed_apps"):
                return await manage.subscribe(waba, numbers, call)
            known = {
                ("GET", "subscribed_apps"): manage.subscribed,
                ("DELETE", "subscribed_apps"): manage.unsubscribe,
                ("GET", "message_templates"): manage.templates,
                ("POST", "message_templates"): manage.create_template,
                ("GET", "phone_numbers"): manage.phone_numbers,
            }.get((call.request.method, edge))
            return await _nothing(call) if known is None else known(waba, numbers, call)

        return do

    async def _serve(
        self, request: web.Request, method: str, number: Number | None, client: str | None, do: Doing
    ) -> web.StreamResponse:
        called, error, status = Called(number=number), None, 200
        fault: Fault | None = None
        try:
            call = await self._call(request, number)
            if number is not None:
                self._learn_base(number, request)
            if method == "messages" and call.body.get("status") is not None:
                method = "read"
            client = client or self._client(number, call.body)
            channel_id = None if number is None else number.channel_id
            fault = self._faults.for_call(method, channel_id, client, WHATSAPP_FAULTS)
            _refuse_as_scripted(fault)
            if fault is None or fault.kind in _AFTER_ALL or (fault.kind == "hang" and fault.accepted):
                called = await do(replace(call, fault=fault))
        except GraphRefusal as refused:
            error, status, called.answer = refused.message, refused.http, refused.body()
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
        return web.json_response(called.answer, status=status)

    async def _call(self, request: web.Request, number: Number | None) -> Call:
        """The call with its token checked: it must be one of a number the id belongs to."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        token = token or request.query.get("access_token", "")
        if not token:
            raise GraphRefusal(
                BAD_TOKEN,
                message="An access token is required to request this resource.",
                http=401,
            )
        known = [n for n in self._whatsapp.numbers.values() if n.account.token == token]
        if not known:
            raise GraphRefusal(
                BAD_TOKEN, message="Invalid OAuth access token - Cannot parse access token", http=401
            )
        object_id = request.match_info.get("object_id", "")
        if number is not None and object_id:
            sees = any(n is number or (n.waba is number.waba and object_id == n.waba.id) for n in known)
            if not sees and object_id in (number.account.phone_number_id, number.waba.id):
                raise no_such_object(object_id, request.method)
        body: Json = {key: value for key, value in request.query.items() if key != "access_token"}
        if request.method == "POST" and request.content_type != "multipart/form-data":
            body |= await _parameters(request)
        return Call(request, token, object_id, body)

    def _client(self, number: Number | None, body: Json) -> str | None:
        """Whom a call is about, for faults of one client."""
        if number is None:
            return None
        for key in ("to", "recipient"):
            given = body.get(key)
            if isinstance(given, str) and given:
                chat = self._whatsapp.find(number, given)
                return None if chat is None else chat.user.client
        message_id = body.get("message_id")
        if message_id is None:
            return None
        owners = (chat.user.client for chat in number.chats.values() if chat.message(message_id))
        return next(owners, None)

    def _learn_base(self, number: Number, request: web.Request) -> None:
        """Addresses of media must lead here from where the business stands: it has just called some."""
        base = f"{request.scheme}://{request.host}"
        for other in self._whatsapp.numbers.values():
            if other.waba is number.waba and other.base != base:
                other.base = base
                self._whatsapp.changed()

    def _log(
        self,
        method: str,
        called: Called,
        client: str | None,
        error: str | None,
        status: int | None,
        fault: Fault | None,
    ) -> None:
        message, chat, number = called.message, called.chat, called.number
        self._ledger.api(
            channel_id=None if number is None else number.channel_id,
            client=client if chat is None else chat.user.client,
            chat_id=None if chat is None else chat.identity.wa_id,
            message_id=None if message is None else message.id,
            text=None if message is None else message.text or None,
            kind=None if message is None else message.kind,
            method=method,
            status=status,
            error=error,
            accepted=message is not None and chat is not None and message.state != "failed",
            fault=None if fault is None else fault.kind,
        )


def _refuse_as_scripted(fault: Fault | None) -> None:
    if fault is not None and fault.kind == "error":
        raise GraphRefusal(
            fault.code,
            fault.details or meaning(fault.code).details,
            subcode=fault.subcode,
            http=fault.http_status,
            transient=fault.transient,
        )


async def _nothing(call: Call) -> Called:
    raise no_such_object(call.object_id, call.request.method)


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
        raise GraphRefusal(BAD_PARAMETER, "The body is no valid JSON.") from exc
    if not isinstance(body, dict):
        raise GraphRefusal(BAD_PARAMETER, "The body must be a JSON object.")
    return body


def _decoded(value: str) -> object:
    """A field of a form; objects and lists stand there as JSON."""
    if not re.match(r"\s*[\[{]", value):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
