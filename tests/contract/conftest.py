"""Fixtures of the contract tests: a sandbox with and without a webhook of its bot."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web
from meta_playground import Stage as MetaStage
from meta_playground import meta_settings, meta_stage
from sandbox_playground import TOKEN, Edge, Playground, sandbox_settings
from viber_playground import Stage, stage_of, viber_settings
from whatsapp_playground import Stage as WhatsAppStage
from whatsapp_playground import whatsapp_settings, whatsapp_stage

from sandbox.app import running


@pytest.fixture(scope="session")
async def aiogram_session() -> AsyncIterator[AiohttpSession]:
    """One session for all tests: to close one takes aiogram a quarter of a second."""
    session = AiohttpSession()
    yield session
    await session.close()


@pytest.fixture
async def empty(aiogram_session: AiohttpSession) -> AsyncIterator[Playground]:
    """A sandbox whose bot has no webhook yet."""
    async with AsyncExitStack() as stack:
        edge = Edge("")
        app = web.Application()
        app.router.add_post("/webhooks/{kind}/{channel}", edge.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        edge.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        url = await stack.enter_async_context(running(sandbox_settings()))
        aiogram_session.api = TelegramAPIServer.from_base(url)
        bot = Bot(TOKEN, session=aiogram_session)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Playground(url, bot, edge, http)


@pytest.fixture
async def play(empty: Playground) -> Playground:
    """A sandbox whose bot has its webhook."""
    await empty.set_webhook()
    return empty


@pytest.fixture
async def lonely() -> AsyncIterator[Stage]:
    """A sandbox whose Viber bot has no webhook yet."""
    async with stage_of(viber_settings()) as stage:
        yield stage


@pytest.fixture
async def viber(lonely: Stage) -> Stage:
    """A sandbox whose Viber bot has its webhook."""
    assert (await lonely.connect())["status"] == 0
    return lonely


@pytest.fixture
async def unsubscribed() -> AsyncIterator[WhatsAppStage]:
    """A sandbox whose WhatsApp numbers have no webhook yet."""
    async with whatsapp_stage(whatsapp_settings()) as stage:
        yield stage


@pytest.fixture
async def whatsapp(unsubscribed: WhatsAppStage) -> WhatsAppStage:
    """A sandbox whose WhatsApp numbers have their webhooks."""
    await unsubscribed.connect()
    return unsubscribed


@pytest.fixture
async def bare_meta() -> AsyncIterator[MetaStage]:
    """A sandbox whose page and Instagram accounts have no webhook yet."""
    async with meta_stage(meta_settings()) as stage:
        yield stage


@pytest.fixture
async def meta(bare_meta: MetaStage) -> MetaStage:
    """A sandbox whose page and Instagram accounts have their webhooks."""
    await bare_meta.connect()
    return bare_meta
