"""Files through the sandbox's Telegram, both ways; the judges are unmodified aiogram and Pillow."""

import asyncio
import base64
import json
from dataclasses import dataclass
from io import BytesIO

import aiohttp
import pytest
from aiogram.exceptions import TelegramBadRequest, TelegramEntityTooLarge
from aiogram.types import (
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaAudio,
    InputMediaDocument,
    InputMediaPhoto,
    InputMediaVideo,
    Message,
    Update,
)
from aiohttp import web
from PIL import Image
from sandbox_playground import CHANNEL, TOKEN, Json, Playground, message_of

WRITE = "messages"
PDF = b"%PDF-1.4\n%%EOF\n"


def _picture(width: int = 640, height: int = 480, kind: str = "JPEG") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), (200, 120, 40)).save(buffer, kind)
    return buffer.getvalue()


def _file(content: bytes, name: str) -> BufferedInputFile:
    return BufferedInputFile(content, name)


async def _received(play: Playground, **body: object) -> Message:
    """What the bot's webhook gets when the client sends this, read by aiogram."""
    count = len(play.edge.got)
    await play.act("olena", WRITE, **body)
    updates = await play.edge.wait_for(lambda got: len(got) > count)
    message = Update.model_validate(updates[-1]).message
    assert message is not None
    return message


async def _bytes(play: Playground, file_id: str) -> bytes:
    """A file as a bot loads it."""
    loaded = BytesIO()
    await play.bot.download(file_id, loaded)
    return loaded.getvalue()


async def _load(play: Playground, path: str) -> tuple[int, bytes, str]:
    async with play.http.get(f"{play.url}{path}") as answer:
        return answer.status, await answer.read(), answer.content_type


# --- from the client


async def test_a_photo_of_the_asked_size_is_a_real_picture(play: Playground) -> None:
    message = await _received(
        play, kind="photo", caption="Ось", file={"generate": "photo", "bytes": 2_000_000}
    )
    assert message.photo is not None
    assert message.caption == "Ось"
    small, full = message.photo
    assert full.file_size == 2_000_000
    content = await _bytes(play, full.file_id)
    assert len(content) == 2_000_000
    with Image.open(BytesIO(content)) as image:
        image.load()
        assert (image.format, image.size) == ("JPEG", (full.width, full.height))
    with Image.open(BytesIO(await _bytes(play, small.file_id))) as image:
        assert max(image.size) == 320


async def test_a_photo_tells_where_it_was_taken_when_asked_to(play: Playground) -> None:
    message = await _received(
        play, kind="document", file={"generate": "photo", "gps": True, "orientation": 6}
    )
    assert message.document is not None
    assert (message.document.file_name, message.document.mime_type) == ("IMG_2026.jpg", "image/jpeg")
    with Image.open(BytesIO(await _bytes(play, message.document.file_id))) as image:
        exif = image.getexif()
        assert exif[0x0112] == 6
        assert exif.get_ifd(0x8825)[1] == "N"


@dataclass(frozen=True)
class Sent:
    """A kind, what its bytes begin with, and its claims."""

    kind: str
    magic: bytes
    mime: str


KINDS = [
    Sent("video", b"\0\0\0 ftypisom", "video/mp4"),
    Sent("animation", b"\0\0\0 ftypisom", "video/mp4"),
    Sent("video_note", b"\0\0\0 ftypisom", "video/mp4"),
    Sent("voice", b"OggS", "audio/ogg"),
    Sent("audio", b"\xff\xfb", "audio/mpeg"),
    Sent("document", b"%PDF-", "application/pdf"),
    Sent("sticker", b"RIFF", "image/webp"),
]


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.kind)
async def test_every_kind_arrives_with_bytes_that_are_one(play: Playground, case: Sent) -> None:
    message = await _received(play, kind=case.kind)
    content = getattr(message, case.kind)
    if case.kind not in ("sticker", "video_note"):
        assert content.mime_type == case.mime
    loaded = await _bytes(play, content.file_id)
    assert (len(loaded), loaded[: len(case.magic)]) == (content.file_size, case.magic)
    (shown,) = await play.phone("olena")
    file = shown["file"]
    assert isinstance(file, dict)
    assert (shown["kind"], shown["direction"], file["mime"], file["size"]) == (
        case.kind,
        "in",
        case.mime,
        len(loaded),
    )
    assert await _load(play, str(file["url"])) == (
        200,
        loaded,
        case.mime if case.kind != "document" else "application/octet-stream",
    )


async def test_given_bytes_keep_their_false_claims(play: Playground) -> None:
    file = {
        "base64": base64.b64encode(b"MZ\x90 not a picture").decode(),
        "name": "a.png",
        "mime": "image/png",
    }
    message = await _received(play, kind="document", file=file)
    assert message.document is not None
    assert (message.document.file_name, message.document.mime_type) == ("a.png", "image/png")
    assert await _bytes(play, message.document.file_id) == b"MZ\x90 not a picture"
    broken = await _received(play, kind="photo", file=file)
    assert broken.photo is not None
    assert await _bytes(play, broken.photo[-1].file_id) == b"MZ\x90 not a picture"


async def test_an_album_is_messages_of_one_group_with_one_caption(play: Playground) -> None:
    receipt = await play.act(
        "olena", WRITE, album=[{}, {"kind": "video"}, {"kind": "image"}], caption="З відпустки"
    )
    updates = await play.edge.wait_for(lambda got: len(got) == 3)
    messages = [message_of(update) for update in updates]
    assert {message["media_group_id"] for message in messages} == {receipt["media_group_id"]}
    assert [message.get("caption") for message in messages] == ["З відпустки", None, None]
    assert [str(message["message_id"]) for message in messages] == receipt["provider_ids"]
    shown = await play.phone("olena")
    assert [(m["kind"], m["group"]) for m in shown] == [
        (kind, receipt["media_group_id"]) for kind in ("photo", "video", "photo")
    ]


async def test_uploads_are_streamed_and_several_are_an_album(play: Playground) -> None:
    form = aiohttp.FormData()
    form.add_field("caption", "два")
    form.add_field("file", _picture(), filename="a.jpg", content_type="image/jpeg")
    form.add_field("file", _picture(kind="PNG"), filename="b.png", content_type="image/png")
    async with play.http.post(f"{play.url}/control/{CHANNEL}/clients/olena/{WRITE}", data=form) as answer:
        assert answer.status == 200, await answer.text()
        assert len((await answer.json())["provider_ids"]) == 2
    updates = await play.edge.wait_for(lambda got: len(got) == 2)
    assert [message_of(update).get("caption") for update in updates] == ["два", None]
    form = aiohttp.FormData({"json": json.dumps({"kind": "document", "text": "файл"})}, quote_fields=False)
    form.add_field("x", PDF, filename="рахунок.pdf", content_type="application/pdf")
    async with play.http.post(f"{play.url}/control/{CHANNEL}/clients/olena/{WRITE}", data=form) as answer:
        assert answer.status == 200, await answer.text()
    message = message_of((await play.edge.wait_for(lambda got: len(got) == 3))[-1])
    document = message["document"]
    assert isinstance(document, dict)
    assert (document["file_name"], document["mime_type"], document["file_size"]) == (
        "рахунок.pdf",
        "application/pdf",
        len(PDF),
    )


async def test_a_file_over_20_mb_cannot_be_loaded_by_a_bot(play: Playground) -> None:
    limit = 20 * 1024 * 1024
    fits = await _received(play, kind="video", file={"bytes": limit})
    over = await _received(play, kind="video", file={"bytes": limit + 1})
    assert fits.video is not None
    assert over.video is not None
    assert (await play.bot.get_file(fits.video.file_id)).file_size == limit
    assert over.video.file_size == limit + 1
    with pytest.raises(TelegramBadRequest, match="Bad Request: file is too big"):
        await play.bot.get_file(over.video.file_id)


async def test_only_the_bots_own_files_have_a_path(play: Playground) -> None:
    message = await _received(play, kind="document")
    assert message.document is not None
    for file_id, text in (("", "file_id not specified"), ("AgACunknown", "wrong file_id or the file is")):
        status, body, _ = await play.raw(f"/bot{TOKEN}/getFile", json={"file_id": file_id})
        assert status == 400
        assert text in str(body["description"])
    file = await play.bot.get_file(message.document.file_id)
    assert file.file_path is not None
    assert file.file_path.startswith("documents/file_")
    assert file.file_path.endswith(".pdf")
    for path in (
        f"/file/bot{TOKEN}/documents/file_99.pdf",
        f"/file/bot7000000002:AAGsandbox-contract_other/{file.file_path}",
    ):
        assert (await _load(play, path))[0] == 404
    assert (await _load(play, f"/file/bot1:AAA/{file.file_path}"))[0] == 401


async def test_the_number_of_somebody_else_carries_no_id(play: Playground) -> None:
    own = await play.act("olena", "share-contact")
    foreign = await play.act("olena", "share-contact", own=False, phone_number="380501112233")
    assert own["provider_id"] != foreign["provider_id"]
    first, second = [message_of(u)["contact"] for u in await play.edge.wait_for(lambda got: len(got) == 2)]
    assert isinstance(first, dict)
    assert first["user_id"] == own["chat_id"]
    assert second == {"phone_number": "380501112233", "first_name": "Знайомий"}


async def test_a_text_does_not_overtake_a_heavy_photo(play: Playground) -> None:
    photo = play.act("olena", WRITE, kind="photo", file={"bytes": 3_000_000})
    text = play.act("olena", WRITE, text="дійшло?")
    async with asyncio.TaskGroup() as both:
        both.create_task(photo)
        both.create_task(text)
    assert [m["kind"] for m in await play.phone("olena")] == ["photo", "text"]


# --- from the bot


async def test_every_kind_a_bot_sends_is_on_the_phone(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    bot = play.bot
    sent = [
        await bot.send_photo(chat_id, _file(_picture(), "a.jpg"), caption="фото"),
        await bot.send_video(chat_id, _file(b"movie", "кліп.mp4"), duration=5, width=320, height=240),
        await bot.send_video_note(chat_id, _file(b"note", "n.mp4"), duration=4, length=384),
        await bot.send_animation(chat_id, _file(b"cat", "cat.mp4"), caption="кіт"),
        await bot.send_voice(chat_id, _file(b"OggS", "v.ogg"), duration=7),
        await bot.send_audio(chat_id, _file(b"ID3", "s.mp3"), title="Пісня", performer="Гурт"),
        await bot.send_document(chat_id, _file(PDF, "рахунок.pdf"), caption="рахунок"),
        await bot.send_sticker(chat_id, _file(_picture(512, 512, "WEBP"), "s.webp")),
        await bot.send_location(chat_id, 50.45, 30.52),
        await bot.send_contact(chat_id, "+380671234567", "Салон", last_name="Мавка"),
    ]
    shown = [m for m in await play.phone("olena") if m["direction"] == "out"]
    assert [m["kind"] for m in shown] == [
        "photo", "video", "video_note", "animation", "voice", "audio", "document", "sticker",
        "location", "contact",
    ]  # fmt: skip
    assert [m["provider_id"] for m in shown] == [str(message.message_id) for message in sent]
    photo, video, animation, audio, document = (sent[n] for n in (0, 1, 3, 5, 6))
    assert photo.photo is not None
    assert (photo.photo[-1].width, photo.photo[-1].height, photo.caption) == (640, 480, "фото")
    assert video.video is not None
    assert (video.video.duration, video.video.width, video.video.file_name) == (5, 320, "кліп.mp4")
    assert animation.document is not None
    assert audio.audio is not None
    assert (audio.audio.title, audio.audio.performer, audio.audio.mime_type) == (
        "Пісня",
        "Гурт",
        "audio/mpeg",
    )
    assert document.document is not None
    assert (document.document.file_name, document.document.mime_type) == ("рахунок.pdf", "application/pdf")
    file = shown[6]["file"]
    assert isinstance(file, dict)
    assert (file["name"], file["size"]) == ("рахунок.pdf", len(PDF))
    assert (await _load(play, str(file["url"])))[1] == PDF
    assert shown[8]["location"] == {"latitude": 50.45, "longitude": 30.52}
    assert shown[9]["contact"] == {
        "phone_number": "+380671234567",
        "first_name": "Салон",
        "last_name": "Мавка",
    }
    entries = [e for e in await play.ledger() if e["type"] == "api" and e["accepted"]]
    assert [(e["method"].lower(), e["kind"], str(e["message_id"])) for e in entries] == [  # type: ignore[attr-defined]
        (f"send{m['kind']}".replace("_", ""), m["kind"], m["provider_id"]) for m in shown
    ]


async def test_an_album_is_all_or_nothing_and_counted_per_message(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    photos = [
        InputMediaPhoto(media=_file(_picture(), f"{n}.jpg"), caption=caption)
        for n, caption in enumerate(("альбом", None))
    ]
    video = InputMediaVideo(media=_file(b"movie", "m.mp4"))
    sent = await play.bot.send_media_group(chat_id, [*photos, video])
    assert len({message.media_group_id for message in sent}) == 1
    assert [message.caption for message in sent] == ["альбом", None, None]
    shown = [m for m in await play.phone("olena") if m["direction"] == "out"]
    assert [(m["kind"], m["text"], m["group"]) for m in shown] == [
        ("photo", "альбом", sent[0].media_group_id),
        ("photo", "", sent[0].media_group_id),
        ("video", "", sent[0].media_group_id),
    ]
    counted = [e["message_id"] for e in await play.ledger() if e.get("method") == "sendMediaGroup"]
    assert counted == [message.message_id for message in sent]
    bad = InputMediaPhoto(media=_file(b"no picture", "x.jpg"))
    with pytest.raises(
        TelegramBadRequest, match='failed to send message #2 with the error message "IMAGE_PROC'
    ):
        await play.bot.send_media_group(chat_id, [photos[0], bad])
    document = InputMediaDocument(media=_file(PDF, "a.pdf"))
    audio = InputMediaAudio(media=_file(b"ID3", "a.mp3"))
    with pytest.raises(TelegramBadRequest, match="document can't be mixed with other media types"):
        await play.bot.send_media_group(chat_id, [photos[0], document])
    with pytest.raises(TelegramBadRequest, match="audio can't be mixed with other media types"):
        await play.bot.send_media_group(chat_id, [audio, video])
    with pytest.raises(TelegramBadRequest, match="too many messages to send as an album"):
        await play.bot.send_media_group(chat_id, [photos[1]] * 11)
    assert len(await play.phone("olena")) == 4
    (single,) = await play.bot.send_media_group(chat_id, [document])
    assert single.media_group_id is None


async def test_a_known_id_is_sent_again_and_a_wrong_one_refused(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    sent = await play.bot.send_photo(chat_id, _file(_picture(), "a.jpg"))
    assert sent.photo is not None
    again = await play.bot.send_photo(chat_id, sent.photo[-1].file_id)
    assert again.photo is not None
    assert again.photo[-1].file_unique_id == sent.photo[-1].file_unique_id
    with pytest.raises(TelegramBadRequest, match="can't use file of type Photo as Document"):
        await play.bot.send_document(chat_id, sent.photo[-1].file_id)
    with pytest.raises(TelegramBadRequest, match="wrong remote file identifier specified"):
        await play.bot.send_photo(chat_id, "AgACAgIAAxkBAAInothing")


async def test_an_address_is_fetched_by_telegram(play: Playground) -> None:
    async def serve(request: web.Request) -> web.Response:
        if request.path.endswith("gone.jpg"):
            return web.Response(status=404)
        mime = "text/html" if request.path.endswith("page.jpg") else "image/jpeg"
        return web.Response(body=_picture(), content_type=mime)

    app = web.Application()
    app.router.add_get("/{name}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site = f"http://127.0.0.1:{runner.addresses[0][1]}"
        chat_id = await play.chat_id("olena")
        sent = await play.bot.send_photo(chat_id, f"{site}/a.jpg")
        assert sent.photo is not None
        assert sent.photo[-1].width == 640
        with pytest.raises(TelegramBadRequest, match="failed to get HTTP URL content"):
            await play.bot.send_photo(chat_id, f"{site}/gone.jpg")
        with pytest.raises(TelegramBadRequest, match="wrong type of the web page content"):
            await play.bot.send_photo(chat_id, f"{site}/page.jpg")
    finally:
        await runner.cleanup()


MB = 1024 * 1024


@dataclass(frozen=True)
class Refused:
    """A photo Telegram does not take."""

    id: str
    content: bytes
    text: str


PHOTOS = [
    Refused("empty", b"", "file must be non-empty"),
    Refused("no picture", PDF, "IMAGE_PROCESS_FAILED"),
    Refused("long sides", _picture(9000, 1001), "PHOTO_INVALID_DIMENSIONS"),
    Refused("narrow", _picture(2100, 100), "PHOTO_INVALID_DIMENSIONS"),
    Refused(
        "over 10 MB",
        _picture() + bytes(10 * MB),
        f"file of size {len(_picture()) + 10 * MB} bytes is too big for a photo; "
        "the maximum size is 10485760 bytes",
    ),
]


@pytest.mark.parametrize("case", PHOTOS, ids=lambda case: case.id)
async def test_photos_telegram_refuses(play: Playground, case: Refused) -> None:
    chat_id = await play.chat_id("olena")
    form = aiohttp.FormData({"chat_id": str(chat_id)})
    form.add_field("photo", BytesIO(case.content), filename="a.jpg")
    status, body, _ = await play.raw(f"/bot{TOKEN}/sendPhoto", data=form)
    assert (status, body["description"]) == (400, f"Bad Request: {case.text}")
    assert len(await play.phone("olena")) == 1


async def test_photos_at_the_limits_pass(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    for content in (_picture(9000, 1000), _picture(2000, 100), _picture() + bytes(10 * MB - len(_picture()))):
        assert (await play.bot.send_photo(chat_id, _file(content, "a.jpg"))).photo


async def test_an_upload_over_50_mb_is_too_large_for_the_front(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    sent = await play.bot.send_document(chat_id, _file(bytes(50 * MB), "a.bin"))
    assert sent.document is not None
    assert sent.document.file_size == 50 * MB
    with pytest.raises(TelegramEntityTooLarge, match="Request Entity Too Large"):
        await play.bot.send_document(chat_id, _file(bytes(50 * MB + 1), "a.bin"))
    assert len(await play.phone("olena")) == 2


async def test_captions_and_what_is_missing(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    fits = "👋" * 512
    photo = _file(_picture(), "a.jpg")
    assert (await play.bot.send_photo(chat_id, photo, caption=fits)).caption == fits
    with pytest.raises(TelegramBadRequest, match="message caption is too long"):
        await play.bot.send_photo(chat_id, photo, caption=fits + "!")
    for method, text in (
        ("sendPhoto", "there is no photo in the request"),
        ("sendVideoNote", "there is no video note in the request"),
        ("sendMediaGroup", 'parameter "media" is required'),
        ("sendLocation", "latitude is empty"),
        ("sendContact", 'parameter "phone_number" is required'),
    ):
        status, body, _ = await play.raw(f"/bot{TOKEN}/{method}", data={"chat_id": str(chat_id)})
        assert (status, body["description"]) == (400, f"Bad Request: {text}")


async def test_captions_and_keyboards_are_edited(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    keys = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Так", callback_data="y")]])
    sent = await play.bot.send_photo(chat_id, _file(_picture(), "a.jpg"), caption="раз", reply_markup=keys)
    number = sent.message_id
    await play.bot.edit_message_caption(chat_id=chat_id, message_id=number, caption="два", reply_markup=keys)
    assert (await play.phone("olena"))[-1]["caption"] == "два"
    await play.bot.edit_message_reply_markup(chat_id=chat_id, message_id=number)
    assert "keyboard" not in (await play.phone("olena"))[-1]
    with pytest.raises(TelegramBadRequest, match="message is not modified"):
        await play.bot.edit_message_reply_markup(chat_id=chat_id, message_id=number)
    with pytest.raises(TelegramBadRequest, match="there is no text in the message to edit"):
        await play.bot.edit_message_text("x", chat_id=chat_id, message_id=number)


# --- faults of downloads


async def _download(play: Playground, path: str) -> object:
    """Status and length of a download, or the error a client sees."""
    try:
        async with play.http.get(f"{play.url}{path}") as answer:
            return answer.status, len(await answer.read()), answer.content_type
    except aiohttp.ClientError as exc:
        return type(exc).__name__


@dataclass(frozen=True)
class BadFile:
    """A fault and what a client sees of a file of 100,000 bytes."""

    fault: Json
    seen: object
    whole: bool = False


BAD_FILES = [
    BadFile({"kind": "vanished"}, (404, 60, "application/json")),
    BadFile({"kind": "429", "method": "file", "retry_after": 3}, (429, 117, "application/json")),
    BadFile({"kind": "wrong_type"}, (200, 100_000, "text/html"), whole=True),
    BadFile({"kind": "wrong_length", "bytes": 200_000}, "ClientPayloadError"),
    BadFile({"kind": "wrong_length", "bytes": 50}, (200, 50, "application/octet-stream")),
    BadFile({"kind": "oversize", "bytes": 300_000}, (200, 300_000, "application/octet-stream"), whole=True),
    BadFile({"kind": "cut"}, "ClientPayloadError"),
    BadFile(
        {"kind": "drip", "bytes_per_s": 1_000_000}, (200, 100_000, "application/octet-stream"), whole=True
    ),
]


@pytest.mark.parametrize("case", BAD_FILES, ids=lambda case: "-".join(str(v) for v in case.fault.values()))
async def test_downloads_go_wrong_as_scripted(play: Playground, case: BadFile) -> None:
    message = await _received(play, kind="document", file={"bytes": 100_000})
    assert message.document is not None
    file = await play.bot.get_file(message.document.file_id)
    path = f"/file/bot{TOKEN}/{file.file_path}"
    await play.faults({**case.fault, "client": "olena", "count": 1})
    assert await _download(play, path) == case.seen
    assert await _download(play, path) == (200, 100_000, "application/octet-stream")
    calls = [e for e in await play.ledger() if e.get("method") == "file"]
    assert [(e.get("fault"), e["accepted"]) for e in calls] == [
        (case.fault["kind"], case.whole),
        (None, True),
    ]


async def test_a_drip_takes_its_time_and_ends_when_the_client_leaves(play: Playground) -> None:
    message = await _received(play, kind="document", file={"bytes": 100_000})
    assert message.document is not None
    file = await play.bot.get_file(message.document.file_id)
    await play.faults({"kind": "drip", "bytes_per_s": 100})
    with pytest.raises(TimeoutError):
        async with (
            asyncio.timeout(0.5),
            play.http.get(f"{play.url}/file/bot{TOKEN}/{file.file_path}") as answer,
        ):
            await answer.read()
