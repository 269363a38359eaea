"""What a business manages over the API: callbacks, the number's fields, templates, tokens, synchronisation.

Source: the fact sheet, 4 (subscribe, override, health check) and 1.4 (coexistence); pywa for the shapes of
`subscribed_apps` and `webhook_configuration`. Meta wants https with a known certificate; plain http to this
machine or to a name without a dot is taken here too.
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from sandbox.whatsapp.calls import Call, Called, required_text
from sandbox.whatsapp.codes import (
    ALREADY_SYNCED,
    BAD_PARAMETER,
    BAD_VALUE,
    SYNC_TOO_LATE,
    GraphRefusal,
    refusal,
)
from sandbox.whatsapp.delivery import MAX_CALLBACK_CHARS, WhatsAppDelivery
from sandbox.whatsapp.history import History
from sandbox.whatsapp.state import App, Hook, Json, Number, Waba, WhatsApp
from sandbox.whatsapp.templates import Template, created

SYNC_SECONDS = 24 * 3600.0
SCOPES = ("whatsapp_business_management", "whatsapp_business_messaging")
_NUMBER_FIELDS = (
    "verified_name", "code_verification_status", "display_phone_number", "quality_rating", "platform_type",
    "throughput", "webhook_configuration", "id",
)  # fmt: skip
_UNSET_FIELDS = frozenset({
    "account_mode", "certificate", "conversational_automation", "country_code", "country_dial_code",
    "eligibility_for_api_business_global_search", "health_status", "is_pin_enabled", "is_preverified_number",
    "last_onboarded_time", "new_certificate", "new_name_status", "quality_score", "search_visibility",
    "whatsapp_business_manager_messaging_limit",
})  # fmt: skip
"""Real fields that no number here has: Graph leaves such out of its answer."""
MAX_PAGE = 100
MAX_TEMPLATES = 250
"""Source: Meta's page of error codes, 2388019."""
PAGE = 25


class Management:
    """The methods beside messages and media."""

    def __init__(
        self, whatsapp: WhatsApp, history: History, delivery: Callable[[Number], WhatsAppDelivery]
    ) -> None:
        self._whatsapp = whatsapp
        self._history = history
        self._delivery = delivery

    # --- callbacks

    async def subscribe(self, waba: Waba, numbers: list[Number], call: Call) -> Called:
        """`POST /{waba_id}/subscribed_apps`: with or without an address of the account's own."""
        hook = await self._hook(numbers[0], call.body)
        waba.subscribed, waba.hook = True, hook
        self._connected(numbers)
        return Called({"success": True}, waba=waba)

    def unsubscribe(self, waba: Waba, numbers: list[Number], _: Call) -> Called:
        """`DELETE /{waba_id}/subscribed_apps`: no webhooks any more."""
        waba.subscribed, waba.hook = False, None
        self._connected(numbers)
        return Called({"success": True}, waba=waba)

    def subscribed(self, waba: Waba, numbers: list[Number], _: Call) -> Called:
        """`GET /{waba_id}/subscribed_apps`."""
        app = numbers[0].app
        data: Json = {"link": f"https://www.facebook.com/games/?app_id={app.id}", "name": "App", "id": app.id}
        own: Json = {} if waba.hook is None else {"override_callback_uri": waba.hook.url}
        listed = [{"whatsapp_business_api_data": data, **own}] if waba.subscribed else []
        return Called({"data": listed}, waba=waba)

    async def change_number(self, number: Number, call: Call) -> Called:
        """`POST /{phone_number_id}`: an address of the number's own; an empty one takes it away."""
        configuration = call.body.get("webhook_configuration")
        if not isinstance(configuration, dict):
            raise GraphRefusal(BAD_PARAMETER, "webhook_configuration is required")
        number.hook = await self._hook(number, configuration)
        self._connected([number])
        return Called({"success": True}, number)

    async def set_app_callback(
        self, app: App, number: Number, url: str, fields: tuple[str, ...] | None
    ) -> None:
        """What the App Dashboard does when its callback is saved.

        Raises:
            GraphRefusal: the address did not pass the handshake.
        """
        _check_url(url)
        await self._delivery(number).shake_hands(url, app.verify_token)
        app.hook = Hook(url=url, fields=fields)
        self._connected([n for n in self._whatsapp.numbers.values() if n.app is app])

    # --- the number, its token, its templates

    def number(self, number: Number, call: Call) -> Called:
        """`GET /{phone_number_id}?fields=`."""
        account = number.account
        coexists = account.coexistence
        hooks = {"phone_number": number.hook, "whatsapp_business_account": number.waba.hook}
        known: Json = {
            "verified_name": account.name,
            "code_verification_status": "VERIFIED",
            "display_phone_number": account.display_phone_number,
            "quality_rating": "GREEN",
            "platform_type": "CLOUD_API",
            "throughput": {"level": "STANDARD"},
            "is_on_biz_app": coexists,
            "is_official_business_account": False,
            "name_status": "APPROVED",
            "status": "CONNECTED",
            "webhook_configuration": {
                **{name: hook.url for name, hook in hooks.items() if hook is not None},
                **({} if number.app.hook is None else {"application": number.app.hook.url}),
            },
            "id": account.phone_number_id,
        }
        asked = call.query.get("fields")
        names = _NUMBER_FIELDS if asked is None else [*asked.split(","), "id"]
        wrong = [name for name in names if name not in known and name not in _UNSET_FIELDS]
        if wrong:
            raise GraphRefusal(
                BAD_PARAMETER,
                message=f"(#100) Tried accessing nonexisting field ({wrong[0]}) on node type "
                "(WhatsAppBusinessPhoneNumber)",
            )
        return Called({name: known[name] for name in dict.fromkeys(names) if name in known}, number)

    def phone_numbers(self, waba: Waba, numbers: list[Number], call: Call) -> Called:
        """`GET /{waba_id}/phone_numbers`."""
        return Called({"data": [self.number(number, call).answer for number in numbers]}, waba=waba)

    def debug_token(self, call: Call) -> Called:
        """`GET /debug_token?input_token=`: what may be done with a token, and until when."""
        token = required_text(call.body, "input_token")
        known = [n for n in self._whatsapp.numbers.values() if n.account.token == token]
        if not known:
            error = {"code": 190, "message": "Invalid OAuth access token."}
            return Called({"data": {"error": error, "is_valid": False, "scopes": []}})
        wabas = sorted({number.account.waba_id for number in known})
        data: Json = {
            "app_id": known[0].app.id,
            "type": "SYSTEM_USER",
            "application": "App",
            "data_access_expires_at": 0,
            "expires_at": 0,
            "is_valid": True,
            "issued_at": 1_767_225_600,
            "scopes": list(SCOPES),
            "granular_scopes": [{"scope": scope, "target_ids": wabas} for scope in SCOPES],
            "user_id": "122100000000000000",
        }
        return Called({"data": data}, known[0])

    def templates(self, waba: Waba, _: list[Number], call: Call) -> Called:
        """`GET /{waba_id}/message_templates`, page by page."""
        query = call.query
        found = [template for template in waba.templates if _wanted(template, query)]
        limit = _whole(query.get("limit"), PAGE, MAX_PAGE)
        start = _whole(query.get("after"), 0, len(found))
        page = found[start : start + limit]
        answer: Json = {"data": [template.told() for template in page]}
        if page:
            end = start + len(page)
            paging: Json = {"cursors": {"before": str(start), "after": str(end)}}
            if end < len(found):
                number = next(n for n in self._whatsapp.numbers.values() if n.waba is waba)
                path = call.request.path
                paging["next"] = f"{number.base}{path}?limit={limit}&after={end}"
            answer["paging"] = paging
        if "summary" in query:
            summary: Json = {
                "total_count": len(found),
                "message_template_count": len(waba.templates),
                "message_template_limit": MAX_TEMPLATES,
                "are_translations_complete": True,
            }
            asked = query["summary"].split(",")
            answer["summary"] = {name: value for name, value in summary.items() if name in asked}
        return Called(answer, waba=waba)

    def create_template(self, waba: Waba, _: list[Number], call: Call) -> Called:
        """`POST /{waba_id}/message_templates`."""
        template = created(waba.templates, call.body)
        answer: Json = {"id": template.id, "status": template.status, "category": template.category}
        return Called(answer, waba=waba)

    # --- coexistence

    def sync(self, number: Number, call: Call) -> Called:
        """`POST /{phone_number_id}/smb_app_data`: contacts or history of the Business app, once each."""
        kind = required_text(call.body, "sync_type")
        if kind not in ("smb_app_state_sync", "history"):
            raise GraphRefusal(BAD_VALUE, "sync_type must be smb_app_state_sync or history")
        if not number.account.coexistence:
            raise GraphRefusal(BAD_PARAMETER, "The number is not used by the WhatsApp Business app.")
        if kind in number.synced:
            raise refusal(ALREADY_SYNCED)
        began = number.onboarded_at
        if began is not None and self._whatsapp.clock() - began > SYNC_SECONDS:
            raise refusal(SYNC_TOO_LATE)
        number.synced.add(kind)
        if kind == "history":
            self._history.send(number, list(number.chats.values()))
        else:
            self._history.send_contacts(number)
        answer: Json = {"messaging_product": "whatsapp", "request_id": self._whatsapp.media_id()}
        return Called(answer, number)

    async def _hook(self, number: Number, body: Json) -> Hook | None:
        url = body.get("override_callback_uri")
        if url is None or url == "":
            return None
        if not isinstance(url, str) or len(url) > MAX_CALLBACK_CHARS:
            raise GraphRefusal(
                BAD_PARAMETER, f"override_callback_uri: at most {MAX_CALLBACK_CHARS} characters"
            )
        _check_url(url)
        await self._delivery(number).shake_hands(url, required_text(body, "verify_token"))
        return Hook(url=url)

    def _connected(self, numbers: list[Number]) -> None:
        for number in numbers:
            if number.callback is not None and number.onboarded_at is None:
                number.onboarded_at = self._whatsapp.clock()
            self._delivery(number).wake()
        self._whatsapp.changed()


def _wanted(template: Template, query: Mapping[str, str]) -> bool:
    """Whether a template passes the filters: a part of its name, and any of the given values."""
    if query.get("name", "") not in template.name:
        return False
    return all(
        key not in query or getattr(template, key) in query[key].split(",")
        for key in ("language", "status", "category")
    )


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    near = host in ("localhost", "127.0.0.1", "::1") or (host and "." not in host and ":" not in host)
    if parts.scheme != "https" and not (parts.scheme == "http" and near):
        raise GraphRefusal(BAD_PARAMETER, "The callback must be a valid https address.")


def _whole(given: str | None, default: int, high: int) -> int:
    if given is None or not given.isascii() or not given.isdigit():
        return default
    return min(int(given), high)
