"""The sandbox process: builds everything and serves it; `python -m sandbox.app`."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from sandbox.burst import Bursts
from sandbox.control import Control
from sandbox.darkroom import Darkroom
from sandbox.delivery import Pace
from sandbox.faults import FaultPlan
from sandbox.files import Files
from sandbox.ledger import Ledger
from sandbox.line import Messenger
from sandbox.meta.api import GraphApi as MetaApi
from sandbox.meta.cdn import Cdn
from sandbox.meta.clients import MetaPhones
from sandbox.meta.conversations import Conversations
from sandbox.meta.delivery import MetaDelivery
from sandbox.meta.limits import Limits as MetaLimits
from sandbox.meta.line import MetaDashboard, MetaLines
from sandbox.meta.management import Management as MetaManagement
from sandbox.meta.network import Meta
from sandbox.meta.posting import MetaPosting
from sandbox.meta.sending import Sending as MetaSending
from sandbox.meta.state import Account as MetaAccount
from sandbox.meta.state import Business, Kind
from sandbox.meta.tokens import Tokens
from sandbox.problems import problems
from sandbox.serving import Serving
from sandbox.settings import InstagramSettings, PageSettings, Settings
from sandbox.studio import Studio
from sandbox.telegram.bot_api import BotApi
from sandbox.telegram.clients import Phones
from sandbox.telegram.commands import Commands
from sandbox.telegram.delivery import TelegramDelivery
from sandbox.telegram.downloads import Downloads
from sandbox.telegram.line import TelegramLines
from sandbox.telegram.posting import Posting
from sandbox.telegram.sending import Sending
from sandbox.telegram.state import Bot, BotAccount, Telegram
from sandbox.telegram.web_files import WebFiles
from sandbox.uploads import files_folder
from sandbox.viber.api import ViberApi
from sandbox.viber.clients import ViberPhones
from sandbox.viber.delivery import ViberDelivery
from sandbox.viber.downloads import ViberDownloads
from sandbox.viber.handset import Handsets
from sandbox.viber.line import ViberLines
from sandbox.viber.posting import ViberPosting
from sandbox.viber.state import Account, Viber
from sandbox.viber.state import Bot as ViberBot
from sandbox.whatsapp.api import GraphApi
from sandbox.whatsapp.clients import WhatsAppPhones
from sandbox.whatsapp.delivery import WhatsAppDelivery
from sandbox.whatsapp.handset import Handsets as WhatsAppHandsets
from sandbox.whatsapp.history import History
from sandbox.whatsapp.limits import PER_SECOND, PER_SECOND_COEXISTENCE, Limits
from sandbox.whatsapp.line import WhatsAppLines
from sandbox.whatsapp.management import Management
from sandbox.whatsapp.media import MediaDesk
from sandbox.whatsapp.messages import Messages
from sandbox.whatsapp.posting import WhatsAppPosting
from sandbox.whatsapp.state import Account as WhatsAppAccount
from sandbox.whatsapp.state import Number, WhatsApp

PHONE_PAGE = Path(__file__).parent / "phone"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE_FILES = (
    "/{name:(?:phone\\.(?:css|js|svg)|meta\\.(?:css|js)"
    "|(?:acts|bubbles|desk|keyboards|messengers|tray|whatsapp)\\.js)}"
)
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Longest body that is no multipart form: base64 in a control call. Forms are streamed and limited apart."""

log = logging.getLogger("sandbox")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """The whole sandbox, listening; gives its base address. Tests use the same door as production."""
    pace = Pace(settings.sandbox_retry_divisor)
    accounts = [
        BotAccount(id=int(bot.token.partition(":")[0]), token=bot.token, username=bot.username, name=bot.name)
        for bot in settings.sandbox_bots
    ]
    telegram = Telegram(accounts, settings.sandbox_state)
    faults = FaultPlan()
    ledger = Ledger(telegram.clock)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0)
    timeout = aiohttp.ClientTimeout(total=60.0)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(files_folder(settings.sandbox_state))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        )
        deliveries = {
            bot.account.id: TelegramDelivery(bot, http, faults, ledger, telegram.clock, pace)
            for bot in telegram.bots.values()
        }

        def delivery(bot: Bot) -> TelegramDelivery:
            return deliveries[bot.account.id]

        phones = Phones(telegram, delivery)
        bursts = Bursts()
        files = Files(folder)
        darkroom = Darkroom(files, Studio(folder))
        serving = Serving()
        downloads = Downloads(telegram, files, faults, ledger, serving)
        sending = Sending(telegram, files, darkroom, WebFiles(http, files))
        rooms = {**sending.methods(), **Commands(telegram).methods(), **downloads.methods()}
        bot_api = BotApi(telegram, files, faults, ledger, delivery, rooms, serving)
        posting = Posting(phones, darkroom)
        shared = _Shared(telegram, files, darkroom, http, faults, ledger, serving, pace)
        guests = [_viber(settings, shared), _whatsapp(settings, shared), _meta(settings, shared)]
        messengers: list[Messenger] = [
            TelegramLines(telegram, phones, posting, delivery),
            *(lines for room in guests for lines in room.lines),
        ]
        control = Control(messengers, files, bursts, faults, ledger, pace)
        background = [asyncio.create_task(d.run(), name="delivery") for d in deliveries.values()]
        background.append(asyncio.create_task(telegram.keep_saving(), name="keep-saving"))
        for room in guests:
            background += [asyncio.create_task(work, name=room.name) for work in room.background]

        app = web.Application(middlewares=[problems], client_max_size=MAX_BODY_BYTES)
        app.add_routes([*bot_api.routes(), *downloads.routes(), *(r for room in guests for r in room.routes)])
        app.add_routes([*control.routes(), *_pages(background)])
        # No access log: the address of a Bot API call contains the token.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.host, settings.public_port)
            await site.start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            serving.close()
            control.close()
            await bursts.stop()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await runner.cleanup()
            telegram.save()
            for room in guests:
                room.save()


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all messengers use."""

    telegram: Telegram
    files: Files
    darkroom: Darkroom
    http: aiohttp.ClientSession
    faults: FaultPlan
    ledger: Ledger
    serving: Serving
    pace: Pace


@dataclass(frozen=True, slots=True)
class _Room:
    """A messenger as the process needs it."""

    name: str
    lines: Sequence[Messenger] = ()
    routes: Sequence[web.RouteDef] = ()
    background: Sequence[Coroutine[None, None, None]] = ()
    save: Callable[[], None] = lambda: None


def _viber(settings: Settings, shared: _Shared) -> _Room:
    """Viber, if it has bots: its clients are Telegram's people."""
    if not settings.sandbox_viber_bots:
        return _Room("viber")
    accounts = [Account(bot.token, bot.name, bot.uri) for bot in settings.sandbox_viber_bots]
    state = None if settings.sandbox_state is None else settings.sandbox_state.with_suffix(".viber.json")
    viber = Viber(accounts, shared.telegram.people, state, shared.telegram.clock)
    deliveries = {
        bot.account.uri: ViberDelivery(
            bot, shared.http, shared.faults, shared.ledger, viber.clock, shared.pace
        )
        for bot in viber.bots.values()
    }

    def delivery(bot: ViberBot) -> ViberDelivery:
        return deliveries[bot.account.uri]

    handsets = Handsets(viber, shared.files, shared.darkroom, shared.http, shared.ledger, delivery)
    downloads = ViberDownloads(viber, shared.files, shared.faults, shared.ledger, shared.serving, delivery)
    phones = ViberPhones(viber, handsets, downloads, delivery)
    posting = ViberPosting(phones, shared.darkroom, downloads)
    api = ViberApi(viber, handsets, shared.faults, shared.ledger, delivery, shared.serving)
    return _Room(
        "viber",
        lines=[ViberLines(viber, phones, posting, delivery)],
        routes=[*api.routes(), *downloads.routes()],
        background=[handsets.run(), viber.keep_saving(), *(each.run() for each in deliveries.values())],
        save=viber.save,
    )


def _whatsapp(settings: Settings, shared: _Shared) -> _Room:
    """WhatsApp, if it has numbers: its clients are Telegram's people."""
    if not settings.sandbox_whatsapp_numbers:
        return _Room("whatsapp")
    accounts = [WhatsAppAccount(**number.model_dump()) for number in settings.sandbox_whatsapp_numbers]
    state = None if settings.sandbox_state is None else settings.sandbox_state.with_suffix(".whatsapp.json")
    whatsapp = WhatsApp(accounts, shared.telegram.people, state, shared.telegram.clock)
    deliveries = {
        number_id: WhatsAppDelivery(
            number, shared.http, shared.faults, shared.ledger, whatsapp.clock, shared.pace
        )
        for number_id, number in whatsapp.numbers.items()
    }
    limits = {
        number_id: Limits(
            PER_SECOND_COEXISTENCE if number.account.coexistence else PER_SECOND, whatsapp.clock, shared.pace
        )
        for number_id, number in whatsapp.numbers.items()
    }

    def delivery(number: Number) -> WhatsAppDelivery:
        return deliveries[number.account.phone_number_id]

    desk = MediaDesk(
        whatsapp,
        shared.files,
        shared.darkroom,
        shared.faults,
        shared.ledger,
        shared.serving,
        shared.pace,
    )
    handsets = WhatsAppHandsets(whatsapp, shared.files, desk, shared.http, delivery)
    history = History(whatsapp, desk, delivery)
    management = Management(whatsapp, history, delivery)
    messages = Messages(whatsapp, handsets, limits)
    api = GraphApi(whatsapp, messages, desk, management, shared.faults, shared.ledger, shared.serving)
    phones = WhatsAppPhones(whatsapp, handsets, desk, delivery)
    posting = WhatsAppPosting(phones, shared.darkroom, desk, history)
    lines = WhatsAppLines(whatsapp, phones, posting, management, delivery, limits)
    return _Room(
        "whatsapp",
        lines=[lines],
        routes=[*desk.routes(), *api.routes(), *lines.routes()],
        background=[handsets.run(), whatsapp.keep_saving(), *(each.run() for each in deliveries.values())],
        save=whatsapp.save,
    )


def _meta(settings: Settings, shared: _Shared) -> _Room:
    """Messenger and Instagram, if they have pages or accounts: their clients are Telegram's people."""
    accounts = [*map(_page, settings.sandbox_pages), *map(_instagram, settings.sandbox_instagram_accounts)]
    if not accounts:
        return _Room("meta")
    state = None if settings.sandbox_state is None else settings.sandbox_state.with_suffix(".meta.json")
    meta = Meta(accounts, shared.telegram.people, state, shared.telegram.clock)
    deliveries = {
        account_id: MetaDelivery(meta, business, shared.http, shared.faults, shared.ledger, shared.pace)
        for account_id, business in meta.businesses.items()
    }
    limits = {key: MetaLimits(business.kind, meta.clock) for key, business in meta.businesses.items()}

    def delivery(business: Business) -> MetaDelivery:
        return deliveries[business.account.id]

    cdn = Cdn(
        meta,
        shared.files,
        shared.darkroom,
        shared.http,
        shared.faults,
        shared.ledger,
        shared.serving,
        shared.pace,
    )
    sending = MetaSending(meta, cdn, limits, delivery)
    conversations = Conversations(meta, cdn, limits)
    management = MetaManagement(meta, delivery)
    api = MetaApi(
        meta,
        Tokens(meta),
        sending,
        conversations,
        management,
        cdn,
        shared.files,
        shared.faults,
        shared.ledger,
        shared.serving,
    )
    phones = MetaPhones(meta, sending, cdn, delivery)
    posting = MetaPosting(phones, shared.darkroom)

    def lines_of(kind: Kind) -> MetaLines:
        return MetaLines(kind, meta, phones, posting, sending, management, cdn, delivery, limits)

    lines = [lines_of("facebook"), lines_of("instagram")]
    return _Room(
        "meta",
        lines=lines,
        routes=[*cdn.routes(), *api.routes(), *MetaDashboard(lines).routes()],
        background=[meta.keep_saving(), *(each.run() for each in deliveries.values())],
        save=meta.save,
    )


def _page(given: PageSettings) -> MetaAccount:
    named = given.model_dump(exclude={"page_id"})
    return MetaAccount(kind="facebook", id=given.page_id, page_id=given.page_id, **named)


def _instagram(given: InstagramSettings) -> MetaAccount:
    return MetaAccount(kind="instagram", id=given.ig_id, **given.model_dump(exclude={"ig_id", "login"}))


def _pages(background: list[asyncio.Task[None]]) -> list[web.RouteDef]:
    async def page(request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", "index.html")
        return web.FileResponse(PHONE_PAGE / name, headers=PAGE_HEADERS)

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        stopped = [task.get_name() for task in background if task.done()]
        if stopped:
            return web.json_response({"status": "failed", "stopped": stopped}, status=503)
        return web.json_response({"status": "ok"})

    return [
        web.get("/", page),
        web.get(PAGE_FILES, page),
        web.get("/health/live", live),
        web.get("/health/ready", ready),
    ]


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as url:
        count = len(settings.sandbox_bots) + len(settings.sandbox_viber_bots)
        numbers = len(settings.sandbox_whatsapp_numbers)
        log.info("sandbox listens on %s with %d bots and %d WhatsApp numbers", url, count, numbers)
        await stop.wait()
    log.info("sandbox stopped")


def main() -> None:
    """Run until SIGTERM."""
    try:
        settings = Settings()
    except ValidationError as exc:
        sys.exit(f"The sandbox cannot start: correct these ROZMOVA_… variables.\n{exc}")
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
