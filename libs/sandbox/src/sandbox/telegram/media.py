"""Telegram's JSON of messages that carry a file: pure functions from a stored file to the content.

Source: the fact sheet of the Bot API, one sample per kind in tests/fixtures/telegram.
"""

from collections.abc import Callable

from sandbox.files import StoredFile
from sandbox.telegram.payloads import Json


def content(file: StoredFile) -> Json:
    """The part of Telegram's `Message` that this file is; captions come beside it."""
    return _KINDS[file.kind](file)


def as_file(file: StoredFile) -> Json:
    """The answer of `getFile`."""
    return {**_named(file), "file_path": file.file_path}


def _photo(file: StoredFile) -> Json:
    sizes = [] if file.thumbnail is None else [_size(file.thumbnail)]
    return {"photo": [*sizes, _size(file)]}


def _size(file: StoredFile) -> Json:
    """`PhotoSize`. Bytes that are no picture still have sides for Telegram."""
    looks = file.looks
    return {**_named(file), "width": looks.width or 800, "height": looks.height or 600}


def _video(file: StoredFile) -> Json:
    looks = file.looks
    result: Json = {"duration": looks.duration, "width": looks.width, "height": looks.height}
    return {"video": {**result, **_name_and_type(file), **_thumbnails(file), **_named(file)}}


def _animation(file: StoredFile) -> Json:
    """An animation comes twice: once as what it is, once as a document."""
    looks = file.looks
    rest = {**_name_and_type(file), **_thumbnails(file), **_named(file)}
    sides: Json = {"duration": looks.duration, "width": looks.width, "height": looks.height}
    return {"animation": {**sides, **rest}, "document": rest}


def _video_note(file: StoredFile) -> Json:
    looks = file.looks
    return {"video_note": {"duration": looks.duration, "length": looks.width or 384, **_named(file)}}


def _voice(file: StoredFile) -> Json:
    looks = file.looks
    return {"voice": {"duration": looks.duration, "mime_type": looks.mime, **_named(file)}}


def _audio(file: StoredFile) -> Json:
    looks = file.looks
    told: Json = {"title": looks.title, "performer": looks.performer}
    known = {key: value for key, value in told.items() if value}
    return {"audio": {"duration": looks.duration, **_name_and_type(file), **known, **_named(file)}}


def _document(file: StoredFile) -> Json:
    return {"document": {**_name_and_type(file), **_named(file)}}


def _sticker(file: StoredFile) -> Json:
    looks = file.looks
    return {
        "sticker": {
            "width": looks.width or 512,
            "height": looks.height or 512,
            "emoji": "🙂",
            "set_name": "Sandbox",
            "is_animated": looks.animated,
            "is_video": looks.moving,
            "type": "regular",
            **_named(file),
        }
    }


def _named(file: StoredFile) -> Json:
    return {"file_id": file.file_id, "file_unique_id": file.unique_id, "file_size": file.size}


def _name_and_type(file: StoredFile) -> Json:
    name: Json = {} if file.looks.name is None else {"file_name": file.looks.name}
    return {**name, "mime_type": file.looks.mime}


def _thumbnails(file: StoredFile) -> Json:
    """The thumbnail comes under its new and its old name."""
    if file.thumbnail is None:
        return {}
    size = _size(file.thumbnail)
    return {"thumbnail": size, "thumb": size}


_KINDS: dict[str, Callable[[StoredFile], Json]] = {
    "photo": _photo,
    "video": _video,
    "animation": _animation,
    "video_note": _video_note,
    "voice": _voice,
    "audio": _audio,
    "document": _document,
    "sticker": _sticker,
}
