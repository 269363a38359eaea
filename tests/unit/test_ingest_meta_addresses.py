"""Which addresses are files of Meta's, which are for a person, and which are neither."""

from __future__ import annotations

from dataclasses import replace

import pytest
from meta_talk import ACCOUNT, INSTAGRAM, message, only, wrote

from ingest_meta.addresses import file_name, is_file_address, is_moving, web_address
from msgkit.contracts.events import MessageReceived
from msgkit.contracts.words import MessageKind

SANDBOX = "http://127.0.0.1:8090/graph-meta"


@pytest.mark.parametrize(
    "url",
    [
        "https://scontent.xx.fbcdn.net/v/1.jpg?oh=1",
        "https://fbcdn.net/1.jpg",
        "https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1",
        "https://scontent-waw2-1.CDNINSTAGRAM.com/1.jpg",
        "https://cdn.fbsbx.com:443/1",
    ],
)
def test_files_lie_at_metas_hosts(url: str) -> None:
    assert is_file_address(url, None)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "/reel/123/",
        "//scontent.xx.fbcdn.net/1.jpg",
        "http://scontent.xx.fbcdn.net/1.jpg",
        "https://scontent.xx.fbcdn.net:8443/1.jpg",
        "https://user@scontent.xx.fbcdn.net/1.jpg",
        "https://fbcdn.net.evil.example/1.jpg",
        "https://evilfbcdn.net/1.jpg",
        "https://www.facebook.com/reel/1/",
        "https://www.instagram.com/p/1/",
        "https://127.0.0.1:8090/1.jpg",
        "https://[::1/1.jpg",
        "https://scontent.xx.fbcdn.net:x/1.jpg",
        "https://scontent.xx.fbcdn.net/\n1.jpg",
        "ftp://scontent.xx.fbcdn.net/1.jpg",
        f"https://scontent.xx.fbcdn.net/{'a' * 5000}",
    ],
)
def test_and_nowhere_else(url: str | None) -> None:
    assert not is_file_address(url, None)
    assert not is_file_address(url, SANDBOX)


def test_an_account_of_the_sandbox_has_its_files_there() -> None:
    assert is_file_address("http://127.0.0.1:8090/files/1", SANDBOX)
    assert not is_file_address("http://127.0.0.1:8091/files/1", SANDBOX)
    assert not is_file_address("http://127.0.0.1:8090/files/1", None)


@pytest.mark.parametrize(
    ("url", "kind", "found"),
    [
        ("https://salon.example/a?b=1", "facebook", "https://salon.example/a?b=1"),
        ("/reel/123/", "facebook", "https://www.facebook.com/reel/123/"),
        ("/reel/123/", "instagram", None),
        ("//evil.example/x", "facebook", None),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Fa.ua%2Fx%3Fy&h=1", "facebook", "https://a.ua/x?y"),
        ("https://l.instagram.com/?u=https%3A%2F%2Fa.ua%2F&e=1", "instagram", "https://a.ua/"),
        (
            "https://l.facebook.com/l.php?u=javascript%3Aalert(1)",
            "facebook",
            "https://l.facebook.com/l.php?u=javascript%3Aalert(1)",
        ),
        ("https://l.facebook.com/l.php", "facebook", "https://l.facebook.com/l.php"),
        ("javascript:alert(1)", "facebook", None),
        ("data:text/html,x", "facebook", None),
        ("https:///x", "facebook", None),
        ("https://a.ua/ b", "facebook", None),
        (7, "facebook", None),
        (None, "facebook", None),
    ],
)
def test_addresses_for_a_person(url: object, kind: str, found: str | None) -> None:
    assert web_address(url, kind) == found


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://cdn.fbsbx.com/v/a%20b.pdf?x=1", "a b.pdf"),
        ("https://cdn.fbsbx.com/v/%2e%2e%2fpasswd.txt", None),
        ("https://cdn.fbsbx.com/v/..", None),
        ("https://cdn.fbsbx.com/v/123", None),
        ("https://cdn.fbsbx.com/", None),
        ("x", None),
    ],
)
def test_file_name_stands_in_the_address(url: str, name: str | None) -> None:
    assert file_name(url) == name


def test_a_video_is_known_by_its_name_if_at_all() -> None:
    assert is_moving("https://scontent.cdninstagram.com/v/clip.MP4?oh=1")
    assert not is_moving("https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1.mp4")


def test_a_post_of_the_sandbox_is_a_picture_there_and_a_page_elsewhere() -> None:
    url = "http://127.0.0.1:8090/files/1.jpg"
    told = wrote(message("m_1", attachments=[{"type": "post", "payload": {"url": url}}]))
    near = only(MessageReceived, told, replace(ACCOUNT, api_base=SANDBOX)).content
    assert near.kind is MessageKind.IMAGE
    assert near.shared_link is not None
    assert near.shared_link.url is None
    far = only(MessageReceived, told).content
    assert far.media == []
    assert far.shared_link is not None
    assert far.shared_link.url == url


def test_a_story_lies_where_the_sandbox_says_too() -> None:
    account = replace(INSTAGRAM, api_base=SANDBOX)
    told = {"id": "18", "url": "http://127.0.0.1:8090/files/story.mp4"}
    event = only(
        MessageReceived,
        {
            "object": "instagram",
            "entry": [
                {
                    "id": account.account_id,
                    "messaging": [
                        {"sender": {"id": "1"}, "message": {"mid": "a", "reply_to": {"story": told}}}
                    ],
                }
            ],
        },
        account,
    )
    assert event.content.kind is MessageKind.VIDEO
