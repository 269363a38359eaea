"""How the gateway is put together."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access_tokens import AccessTokens, issuers_of
from gateway.addresses import FileAddresses
from gateway.api import auth as auth_routes
from gateway.api import bootstrap, channels, conversations, me, messages
from gateway.api import files as file_routes
from gateway.api.access import guards
from gateway.api.pages import docs, mount_window
from gateway.auth import Auth, Revocations
from gateway.channel_changes import ChannelChanges
from gateway.channel_desk import ChannelDesk
from gateway.clients import Channels, Connectors, Inbox
from gateway.colleagues import Colleagues
from gateway.consumers import Manifests, subscribe
from gateway.limits import Buckets
from gateway.live import Live
from gateway.passwords import Passwords
from gateway.presence import Presence
from gateway.proxies import TrustedProxies
from gateway.schemas import SERVICE
from gateway.settings import Settings, UsersFile, read_users
from gateway.store import Store, Tenant, User
from gateway.templates import Templates
from gateway.uploads import UploadLimits, Uploads
from gateway.ws import Sockets
from msgkit.runtime.bus import Publisher, faststream_broker
from msgkit.runtime.clock import utc_now
from msgkit.runtime.headers import BodyLimit
from msgkit.runtime.health import Health
from msgkit.runtime.http import InternalClient
from msgkit.runtime.media import MediaInspector, Workspace
from msgkit.runtime.mongo import Mongo, StoreUnavailable
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.problems import MEDIA_TYPE as PROBLEM_TYPE
from msgkit.runtime.problems import Problem, install_problem_handlers
from msgkit.runtime.service import Background, Service, run
from msgkit.runtime.tokens import ServiceTokens

PREFIX = "/api/v1"
BODY_MAX_BYTES = 256 * 1024
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["status", "code", "detail"],
    "properties": {
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {
        "description": "A problem: `code` for programs, `detail` for people.",
        "content": {PROBLEM_TYPE: {"schema": PROBLEM_SCHEMA}},
    }
    for code in ("4XX", "5XX")
}


def build() -> Service:  # noqa: PLR0915 - the one place where everything is made
    """Everything of the service, made and wired, nothing running yet."""
    settings = Settings()
    users = None if settings.users_file is None else read_users(settings.users_file)
    rabbitmq_url = settings.rabbitmq_url.get_secret_value()
    origins = settings.origins()

    mongo = Mongo(settings.mongo_url.get_secret_value(), settings.database_name(SERVICE))
    store = Store(mongo.database)
    service_tokens = ServiceTokens(
        SERVICE, settings.service_key.get_secret_value(), settings.service_public_keys
    )
    access_tokens = AccessTokens(
        settings.session_key.get_secret_value(),
        issuers_of([issuer.model_dump() for issuer in settings.issuers]),
        utc_now,
    )
    passwords = Passwords()
    auth = Auth(
        store,
        access_tokens,
        passwords,
        Revocations(),
        utc_now,
        per_minute_account=settings.login_per_minute_account,
        per_minute_address=settings.login_per_minute_address,
    )
    inbox_http = InternalClient(settings.inbox_url, "inbox", service_tokens)
    inbox = Inbox(inbox_http)
    connectors = Connectors(service_tokens)
    known_channels = Channels(inbox, time.monotonic)
    manifests = Manifests(time.monotonic)
    publisher = Publisher(rabbitmq_url, SERVICE)
    presence = Presence(publisher, inbox, utc_now)
    broker = faststream_broker(rabbitmq_url)
    subscribe(broker, manifests, settings.instance, store.keep_manifest, presence.hear)
    live = Live(rabbitmq_url, inbox, publisher, known_channels, manifests, utc_now, settings.instance)
    sockets = Sockets(live, auth, known_channels, inbox, presence, origins, settings.sockets_per_user)
    files = _files(settings, store)

    guard = guards(
        auth,
        known_channels,
        Buckets(settings.rest_per_s_user, settings.rest_per_s_user * 5, time.monotonic),
        Buckets(settings.rest_per_s_tenant, settings.rest_per_s_tenant * 2, time.monotonic),
    )
    per_minute = settings.tickets_per_minute_user
    tickets = Buckets(per_minute / 60, per_minute / 2, time.monotonic)
    changes = ChannelChanges(mongo.database, settings.instance)
    desk = ChannelDesk(inbox, known_channels, manifests, connectors, changes)
    templates = Templates(desk, time.monotonic)
    public = _public(
        settings,
        sockets,
        [
            auth_routes.routes(auth, guard, origins, tickets),
            bootstrap.routes(
                inbox,
                store,
                known_channels,
                manifests,
                live,
                guard,
                upload_max_bytes=settings.upload_max_bytes,
            ),
            me.routes(store, live, guard),
            channels.routes(desk, templates, guard),
            conversations.routes(
                inbox, files.uploads, templates, Colleagues(store, known_channels), presence, guard
            ),
            messages.routes(inbox, guard),
            file_routes.routes(files.uploads, files.addresses, inbox, guard),
        ],
        file_routes.reading(files.objects, files.addresses),
    )
    background = Background()
    health = Health()
    health.add("mongodb", mongo.ping)

    async def live_is_ready() -> bool:
        return live.ready.is_set()

    health.add("live", live_is_ready)

    async def start() -> None:
        await mongo.require_replica_set()
        await store.prepare()
        await changes.prepare()
        await files.prepare()
        if users is not None:
            await _bring_in(store, auth, users)
        access_tokens.serve(await store.tenant_ids())
        for announced in await store.manifests():
            manifests.hear(announced)
        await broker.start()
        background.spawn("live", live.run())
        background.spawn("revocations", auth.follow_revocations())
        background.spawn("channel sweep", desk.sweep_forever())
        background.spawn("uploads", files.uploads.sweep())
        for name, work in sockets.background():
            background.spawn(name, work)

    async def stop() -> None:
        await background.cancel_all()
        await broker.stop()
        await publisher.close()
        await connectors.aclose()
        await inbox_http.aclose()
        await files.aclose()
        passwords.close()
        mongo.close()

    return Service(
        name=SERVICE,
        internal=FastAPI(openapi_url=None),
        public=public,
        health=health,
        start=start,
        drain=sockets.drain,
        stop=stop,
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """What takes files in and gives them out."""

    objects: ObjectStore
    inspector: MediaInspector
    workspace: Workspace
    uploads: Uploads
    addresses: FileAddresses

    async def prepare(self) -> None:
        await self.objects.prepare()
        await self.workspace.prepare()

    async def aclose(self) -> None:
        await self.inspector.aclose()
        await self.workspace.aclose()


def _files(settings: Settings, store: Store) -> _Files:
    objects, inspector, workspace = ObjectStore(settings.objects_url), MediaInspector(), Workspace(SERVICE)
    limits = UploadLimits(
        max_bytes=settings.upload_max_bytes,
        seconds=settings.upload_seconds,
        at_once_user=settings.uploads_at_once_user,
        at_once=settings.uploads_at_once,
    )
    per_minute = settings.uploads_per_minute_user
    # Half a minute's worth at once: a whole album comes within a second.
    per_user = Buckets(per_minute / 60, max(1.0, per_minute / 2), time.monotonic)
    return _Files(
        objects,
        inspector,
        workspace,
        Uploads(store, objects, inspector, workspace, limits, per_user, utc_now),
        FileAddresses(base64.b64decode(settings.session_key.get_secret_value()), utc_now),
    )


def _public(
    settings: Settings, sockets: Sockets, routers: Sequence[APIRouter], reading: APIRouter
) -> FastAPI:
    public = FastAPI(title="Rozmova", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    for router in routers:
        public.include_router(router, prefix=PREFIX, responses=PROBLEMS)
    public.include_router(reading)
    public.include_router(sockets.router())
    public.include_router(docs(public))
    folder = settings.static_dir or Path(__file__).parent / "static"
    mount_window(public, folder, settings.origins())
    install_problem_handlers(public)
    public.add_exception_handler(StoreUnavailable, _on_store_unavailable)
    public.add_middleware(_BodyLimits)
    if settings.allowed_origins:
        public.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "X-File-Name"],
            expose_headers=["Retry-After"],
        )
    public.add_middleware(TrustedProxies, networks=settings.trusted_proxies)
    return public


class _BodyLimits:
    """A limit for every body, except those of files: who takes them in counts them as they come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._limited = BodyLimit(app, BODY_MAX_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_file = scope["type"] == "http" and scope["path"] == PREFIX + file_routes.UPLOADS_PATH
        await (self._app if is_file else self._limited)(scope, receive, send)


async def _bring_in(store: Store, auth: Auth, users: UsersFile) -> None:
    for tenant in users.tenants:
        await store.put_tenant(Tenant(tenant.id, tenant.title))
    for user in users.users:
        await auth.bring_in_user(
            User(user.id, user.tenant, user.login, user.name, "", tuple(user.roles)),
            user.password.get_secret_value(),
        )


async def _on_store_unavailable(_request: Request, _error: Exception) -> Response:
    return Problem(
        503, "unavailable", "Сервіс тимчасово недоступний. Спробуйте ще раз.", headers={"Retry-After": "2"}
    ).response()


if __name__ == "__main__":
    run(build)
