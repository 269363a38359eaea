"""Pages, accounts and people as objects of the graph, subscriptions, and who holds a thread.

Source: the fact sheet, 1.2 (conversation routing), 3 (profiles) and 4 (fields to subscribe).
"""

import json
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from sandbox.meta import payloads
from sandbox.meta.calls import Call, Called, as_object, chosen, fields_of
from sandbox.meta.codes import (
    BAD_PARAMETER,
    CONSENT,
    NO_MATCH,
    NO_USER,
    PHONE_ACCOUNT,
    GraphRefusal,
    bad_parameter,
    no_such_object,
)
from sandbox.meta.delivery import MetaDelivery
from sandbox.meta.network import Meta
from sandbox.meta.state import App, Business, Chat, Hook, Json

PAGE_FIELDS = (
    "messages", "messaging_postbacks", "message_echoes", "message_deliveries", "message_reads",
    "message_reactions", "message_edits", "messaging_referrals", "messaging_optins", "messaging_handovers",
    "standby", "messaging_policy_enforcement", "response_feedback",
)  # fmt: skip
LOGIN_FIELDS = (
    "messages", "messaging_postbacks", "messaging_seen", "message_reactions", "messaging_referral",
    "messaging_handover", "message_edit", "message_echoes", "standby", "comments", "live_comments",
)  # fmt: skip
"""What may be subscribed to, by flavour; the rest is refused with the list. Source: the fact sheet, 4."""
CONTROLS = frozenset({"take_thread_control", "pass_thread_control", "request_thread_control"})


class Management:
    """The methods beside messages, files and conversations."""

    def __init__(self, meta: Meta, delivery: Callable[[Business], MetaDelivery]) -> None:
        self._meta = meta
        self._delivery = delivery

    # --- objects

    def page(self, businesses: Sequence[Business], call: Call) -> Called:
        """`GET /{page_id}?fields=`."""
        page = next((b for b in businesses if b.kind == "facebook"), None)
        linked = next((b for b in businesses if b.kind == "instagram"), None)
        account = (page or businesses[0]).account
        known: Json = {
            "id": account.holder_id,
            "name": account.name,
            "username": account.username or None,
            "access_token": call.token.value,
            "category": "Beauty salon",
            "link": f"https://www.facebook.com/{account.holder_id}",
            "instagram_business_account": None if linked is None else _linked(linked),
        }
        asked = fields_of(call.body.get("fields")) or fields_of("name,id")
        told = chosen(known, asked, "Page")
        if isinstance(told.get("instagram_business_account"), dict) and not any(f.inner for f in asked):
            assert linked is not None
            told["instagram_business_account"] = {"id": linked.account.id}
        return Called({**told, "id": account.holder_id}, page or linked)

    def account(self, business: Business, call: Call) -> Called:
        """`GET /me` and `GET /{id}` of an Instagram account; of a login `id` is each app's own."""
        account = business.account
        is_login = account.page_id is None
        scoped = str(int(account.id) + int(account.app_id) % 10**6 + 1) if is_login else account.id
        known: Json = {
            "id": scoped,
            "username": account.username,
            "name": account.name,
            "profile_picture_url": None,
            "followers_count": 1024,
            **({"user_id": account.id, "account_type": "BUSINESS"} if is_login else {}),
        }
        asked = fields_of(call.body.get("fields")) or fields_of("id")
        return Called({**chosen(known, asked, "IGUser"), "id": scoped}, business)

    def profile(self, business: Business, chat: Chat, call: Call) -> Called:
        """`GET /{PSID}` or `GET /{IGSID}`: only of who has written to us."""
        variant = chat.profile
        if variant == "ok" and chat.wrote_at is None:
            variant = "consent" if business.kind == "instagram" else "empty"
        match variant:
            case "consent":
                raise GraphRefusal(CONSENT, http=403)
            case "no_match":
                if business.kind == "instagram":
                    raise GraphRefusal(NO_MATCH)
                raise GraphRefusal(BAD_PARAMETER, NO_USER)
            case "phone_account":
                raise GraphRefusal(BAD_PARAMETER, PHONE_ACCOUNT)
            case "empty":
                return Called({}, business, chat)
        user = chat.user
        if business.kind == "facebook":
            known: Json = {
                "first_name": user.first_name,
                "last_name": user.last_name,
                "name": user.full_name,
                "profile_pic": None,
                "locale": None,
                "timezone": None,
                "gender": None,
            }
        else:
            known = {
                "name": user.full_name,
                "username": chat.username,
                "profile_pic": None,
                "follower_count": 128,
                "is_verified_user": False,
                "is_user_follow_business": True,
                "is_business_follow_user": False,
            }
        known["id"] = chat.id
        default = "first_name,last_name,name" if business.kind == "facebook" else "name,username"
        asked = fields_of(call.body.get("fields")) or fields_of(default)
        return Called({**chosen(known, asked, "Profile"), "id": chat.id}, business, chat)

    # --- subscriptions

    def subscribed(self, businesses: Sequence[Business], call: Call) -> Called:
        """`GET /{id}/subscribed_apps`: the app of the token, if it is subscribed, with its fields."""
        fields = self._meta.subscriptions.get((call.token.holder_id, call.token.app_id))
        app: Json = {"link": "https://rozmova.example/", "name": "Rozmova", "id": call.token.app_id}
        data = [] if fields is None else [{**app, "subscribed_fields": list(fields)}]
        return Called({"data": data}, businesses[0])

    def subscribe(self, businesses: Sequence[Business], call: Call) -> Called:
        """`POST /{id}/subscribed_apps?subscribed_fields=`: these fields in the place of all others.

        Raises:
            GraphRefusal: a field is not legal; says which are.
        """
        legal = PAGE_FIELDS if call.token.host == "facebook" else LOGIN_FIELDS
        fields = _listed(call.body.get("subscribed_fields"))
        if not fields:
            raise bad_parameter("The parameter subscribed_fields is required.")
        for number, name in enumerate(fields):
            if name not in legal:
                raise bad_parameter(
                    f'Param subscribed_fields[{number}] must be one of {{{", ".join(legal)}}} - got "{name}".'
                )
        key = call.token.holder_id, call.token.app_id
        is_new = key not in self._meta.subscriptions
        self._meta.subscriptions[key] = tuple(dict.fromkeys(fields))
        self._meta.changed()
        if is_new:
            for business in businesses:
                self._delivery(business).begin()
        return Called({"success": True}, businesses[0])

    def unsubscribe(self, businesses: Sequence[Business], call: Call) -> Called:
        """`DELETE /{id}/subscribed_apps`."""
        self._meta.subscriptions.pop((call.token.holder_id, call.token.app_id), None)
        self._meta.changed()
        for business in businesses:
            self._delivery(business).drop_pending()
        return Called({"success": True}, businesses[0])

    async def set_callback(self, app: App, business: Business, hook: Hook) -> None:
        """What the App Dashboard does when a callback is saved: for this object, all pages or accounts.

        Raises:
            GraphRefusal: the address did not pass the handshake.
        """
        _check_url(hook.url)
        await self._delivery(business).shake_hands(hook.url, app.verify_token)
        app.hooks[business.account.object] = hook
        self._meta.changed()
        for other in self._meta.businesses.values():
            if other.app is app:
                self._delivery(other).wake()

    # --- threads

    def control(self, business: Business, chat: Chat, edge: str, call: Call) -> Called:
        """`POST /{id}/take_thread_control`, `pass_…`, `request_…`."""
        if edge == "take_thread_control":
            self.own(business, chat, business.app.id)
        elif edge == "pass_thread_control":
            target = call.body.get("target_app_id")
            if not isinstance(target, str | int) or not str(target):
                raise bad_parameter("The parameter target_app_id is required.")
            self.own(business, chat, str(target))
        return Called({"success": True}, business, chat)

    def own(
        self, business: Business, chat: Chat, app_id: str | None, *, metadata: str | None = None
    ) -> int | None:
        """Another app holds the thread from now on; ours is told when it gains or loses it by others."""
        previous = self._meta.owner_of(chat)
        chat.owner, chat.owned_at = app_id, self._meta.clock()
        chat.changed()
        if metadata is None or app_id == previous:
            return None
        told: Json = {"previous_owner_app_id": previous, "new_owner_app_id": app_id, "metadata": metadata}
        event = "pass_thread_control" if app_id == business.app.id else "take_thread_control"
        now_ms = int(self._meta.clock() * 1000)
        element = payloads.from_client(business, chat, now_ms, **{event: told})
        names = ("messaging_handovers", "messaging_handover")
        return self._delivery(business).tell(names, element, kind=event, chat=chat)

    def whose(self, businesses: Sequence[Business], call: Call) -> tuple[Business, Chat]:
        """Whom a call of thread control is about.

        Raises:
            GraphRefusal: nobody here.
        """
        contact_id = as_object(call.body.get("recipient"), "recipient").get("id")
        for business in businesses:
            chat = self._meta.find(business, str(contact_id))
            if chat is not None:
                return business, chat
        raise GraphRefusal(BAD_PARAMETER, NO_USER)


def nothing(call: Call) -> GraphRefusal:
    """There is no such thing."""
    return no_such_object(call.object_id, call.verb)


def _linked(business: Business) -> Json:
    account = business.account
    return {"id": account.id, "username": account.username, "name": account.name}


def _listed(given: object) -> list[str]:
    if isinstance(given, str) and given.startswith("["):
        try:
            given = json.loads(given)
        except ValueError:
            return []
    if isinstance(given, str):
        given = given.split(",")
    return [str(one).strip() for one in given if str(one).strip()] if isinstance(given, list) else []


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    near = host in ("localhost", "127.0.0.1", "::1") or (host and "." not in host and ":" not in host)
    if parts.scheme != "https" and not (parts.scheme == "http" and near):
        raise bad_parameter("The callback must be a valid https address.")
