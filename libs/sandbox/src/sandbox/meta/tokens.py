"""Tokens: what each opens, how Meta refuses one that is over, `debug_token`, and sixty days more for a login.

Source: the fact sheet, 2.1, 2.8 (190 and its subcodes) and 4 (`debug_token`, `refresh_access_token`).
"""

from aiohttp import web

from sandbox.meta.calls import Call, Called
from sandbox.meta.codes import BAD_TOKEN, GraphRefusal, bad_parameter, bad_token
from sandbox.meta.network import Meta
from sandbox.meta.state import DAY, Json, Kind, Token

PAGE_SCOPES = ("pages_show_list", "pages_manage_metadata")
LOGIN_SCOPES = ("instagram_business_basic",)
MIN_AGE_SECONDS = DAY
"""A token of a login is renewed when it is a day old at least."""


class Tokens:
    """The keys to pages and accounts."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta

    def of(self, request: web.Request, host: Kind) -> Token:
        """The token a call came with.

        Raises:
            GraphRefusal: there is none, it is of the other host, or it is over.
        """
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        given = given or request.query.get("access_token", "")
        if not given:
            words = "An access token is required to request this resource."
            raise GraphRefusal(BAD_TOKEN, message=words)
        token = self._meta.tokens.get(given)
        if token is None or token.host != host:
            raise GraphRefusal(BAD_TOKEN, message="Invalid OAuth access token - Cannot parse access token")
        if token.state != "ok":
            raise bad_token(token.state)
        if token.expires_at is not None and token.expires_at <= self._meta.clock():
            raise bad_token("expired")
        return token

    def debug(self, call: Call) -> Called:
        """`GET /debug_token?input_token=`: what may be done with a token, and until when."""
        given = call.body.get("input_token")
        if not isinstance(given, str) or not given:
            raise bad_parameter("The parameter input_token is required.")
        token = self._meta.tokens.get(given)
        if token is None or token.app_id != call.token.app_id:
            error: Json = {"code": BAD_TOKEN, "message": "Invalid OAuth access token."}
            return Called({"data": {"error": error, "is_valid": False, "scopes": []}})
        ends = token.expires_at
        is_over = token.state != "ok" or (ends is not None and ends <= self._meta.clock())
        data: Json = {
            "app_id": token.app_id,
            "type": "PAGE" if token.host == "facebook" else "USER",
            "application": "Rozmova",
            "data_access_expires_at": 0 if ends is None else int(ends),
            "expires_at": 0 if ends is None else int(ends),
            "is_valid": not is_over,
            "issued_at": int(token.issued_at),
            "profile_id": token.holder_id,
            "scopes": self._scopes(token),
            "user_id": "122100000000000000",
        }
        if is_over:
            refused = bad_token("expired" if token.state == "ok" else token.state)
            told: Json = {"code": BAD_TOKEN, "message": refused.message, "subcode": refused.subcode}
            data["error"] = told
        return Called({"data": data})

    def refresh(self, call: Call) -> Called:
        """`GET /refresh_access_token?grant_type=ig_refresh_token`: a new token for sixty days."""
        if call.body.get("grant_type") != "ig_refresh_token":
            raise bad_parameter("Param grant_type must be ig_refresh_token")
        now = self._meta.clock()
        if now - call.token.issued_at < MIN_AGE_SECONDS:
            raise bad_parameter("The access token must be at least 24 hours old to be refreshed.")
        made = self._meta.renew(call.token)
        assert made.expires_at is not None
        answer: Json = {
            "access_token": made.value,
            "token_type": "bearer",
            "expires_in": int(made.expires_at - now),
            "permissions": ",".join(self._scopes(made)),
        }
        return Called(answer)

    def _scopes(self, token: Token) -> list[str]:
        mine = self._meta.of_holder(token.holder_id)
        if token.host == "instagram":
            granted = all(b.permissions for b in mine)
            return [*LOGIN_SCOPES, *(["instagram_business_manage_messages"] if granted else [])]
        scopes = list(PAGE_SCOPES)
        for business in mine:
            if business.kind == "instagram":
                scopes.append("instagram_basic")
            if business.permissions:
                scopes.append(
                    "pages_messaging" if business.kind == "facebook" else "instagram_manage_messages"
                )
        return scopes
