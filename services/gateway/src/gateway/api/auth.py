"""Signing in and out, and tickets for sockets."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Cookie, Depends, Request, Response

from gateway.access_tokens import ACCESS_LIFE
from gateway.api.access import Guards
from gateway.auth import SESSION_LIFE, TICKET_LIFE, Auth, SignedIn
from gateway.limits import Buckets
from gateway.proxies import caller_group
from gateway.schemas import EmptyIn, LoginIn, Session, TicketOut, TokenOut
from msgkit.runtime.problems import Problem

COOKIE = "rozmova_refresh"
COOKIE_PATH = "/api/v1/auth"

RefreshCookie = Annotated[str | None, Cookie(alias=COOKIE)]


def routes(auth: Auth, guards: Guards, origins: frozenset[str], tickets: Buckets) -> APIRouter:
    router = APIRouter(tags=["auth"])

    def from_our_pages(request: Request) -> None:
        # The cookie is SameSite=Lax already; this also holds for a page of a sibling domain.
        origin = request.headers.get("origin")
        if origin is not None and origin not in origins:
            raise Problem(403, "foreign_origin", "Запит з чужої сторінки.")

    guarded = [Depends(from_our_pages)]

    @router.post("/auth/login", dependencies=guarded)
    async def login(body: LoginIn, request: Request, response: Response) -> TokenOut:
        """Exchange a login and a password for an access token and a refresh cookie."""
        address = caller_group(request.client.host) if request.client else "unknown"
        signed_in = await auth.login(body.login, body.password.get_secret_value(), address)
        return _answer(signed_in, request, response)

    @router.post("/auth/refresh", dependencies=guarded)
    async def refresh(
        request: Request,
        response: Response,
        body: EmptyIn | None = None,
        cookie: RefreshCookie = None,
    ) -> TokenOut:
        """A fresh access token for the cookie, which is replaced too."""
        return _answer(await auth.refresh(cookie), request, response)

    @router.post("/auth/logout", status_code=204, dependencies=guarded)
    async def logout(
        request: Request,
        body: EmptyIn | None = None,
        cookie: RefreshCookie = None,
    ) -> Response:
        """End the session: its tokens are refused and its sockets closed."""
        session: Session | None
        try:
            session = auth.session_of(request.headers.get("authorization", ""))
        except Problem:
            session = None  # the token has ended already; the cookie says enough
        await auth.logout(session, cookie)
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="lax")
        return response

    @router.post("/ws-ticket")
    async def ws_ticket(body: EmptyIn | None = None, session: Session = guards.chat_user) -> TicketOut:
        """A one-time ticket for the hello of a socket."""
        wait = tickets.take(f"{session.tenant_id}:{session.user_id}")
        if wait:
            raise Problem(
                429, "rate_limited", "Забагато з'єднань. Зачекайте.", headers={"Retry-After": str(wait)}
            )
        return TicketOut(ticket=await auth.ticket(session), expires_in=int(TICKET_LIFE.total_seconds()))

    return router


def _answer(signed_in: SignedIn, request: Request, response: Response) -> TokenOut:
    response.set_cookie(
        COOKIE,
        signed_in.refresh_token,
        max_age=int(SESSION_LIFE.total_seconds()),
        # MongoDB's UTC is another tzinfo than ours, and the cookie's date takes only this one.
        expires=signed_in.expires_at.astimezone(UTC),
        path=COOKIE_PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return TokenOut(access_token=signed_in.access_token, expires_in=int(ACCESS_LIFE.total_seconds()))
