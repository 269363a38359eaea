"""What an account must be subscribed to, whether it is, and who it is; in words with one fix each. Pure.

Source: fact sheet 4.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from ingest_meta.flavours import Flavour
from ingest_meta.payloads import NAME_MAX_CHARS, WORD_MAX_CHARS
from ingest_meta.refusals import BAD_PARAMETER
from msgkit.connector.contract import Account, ConnectionReport, Identity
from msgkit.connector.errors import CredentialsInvalid
from msgkit.connector.raw import Node, integer, is_node, items, node, opaque, text, words

Fields = tuple[tuple[str, ...], ...]
"""Fields of webhooks; each with the spellings it may have, the likelier first."""

PAGE_PREFIX: Final = "page:"
"""A page and its Instagram account share this name, as they share the subscription."""
MESSENGER_ONLY: Final = (
    "message_deliveries",
    "message_reads",
    "messaging_optins",
    "messaging_policy_enforcement",
)
"""What a page needs for Messenger and not for Instagram: by this we tell who subscribed it."""
PAGE_FIELDS: Final[Fields] = tuple(
    (field,)
    for field in (
        *("messages", "messaging_postbacks", "message_echoes", "message_reactions", "message_edits"),
        *("messaging_referrals", "messaging_handovers", "standby"),
        *MESSENGER_ONLY,
    )
)
PAGE_OF_INSTAGRAM_FIELDS: Final[Fields] = tuple(
    field for field in PAGE_FIELDS if field[0] not in MESSENGER_ONLY
)
"""Of a page that only leads to its Instagram account: what that tells is chosen in the App Dashboard, and the
page must be subscribed as well."""
INSTAGRAM_FIELDS: Final[Fields] = (
    ("messages",),
    ("messaging_postbacks",),
    ("messaging_seen",),
    ("message_reactions",),
    ("messaging_referral",),
    ("messaging_handover", "messaging_handovers"),
    ("standby",),
    ("message_edit", "message_edits"),
    ("message_echoes",),
)
"""Meta's pages differ in the spelling of some, and do not take each of them everywhere."""

LINKED: Final = "instagram_business_account{id,username}"
"""Of a page: the Instagram account it leads to."""
ID_FIELDS: Final = {
    Flavour.PAGE: "id,name",
    Flavour.INSTAGRAM_BY_PAGE: f"id,{LINKED}",
    Flavour.INSTAGRAM_LOGIN: "user_id,username",
}
"""Of `/me`: what tells which account it is."""

_NEEDED: Final = {
    Flavour.PAGE: frozenset(
        {"messages", "messaging_postbacks", "message_echoes", "message_deliveries", "message_reads"}
    ),
    # By this page-level subscription Instagram's messages come at all (fact sheet 4).
    Flavour.INSTAGRAM_BY_PAGE: frozenset({"messages"}),
    Flavour.INSTAGRAM_LOGIN: frozenset({"messages", "messaging_postbacks"}),
}
"""Without these something of a dialogue is lost."""
_WANTED: Final = {
    Flavour.PAGE: PAGE_FIELDS,
    Flavour.INSTAGRAM_BY_PAGE: PAGE_OF_INSTAGRAM_FIELDS,
    Flavour.INSTAGRAM_LOGIN: INSTAGRAM_FIELDS,
}
_LEGAL = re.compile(r"\{([a-z_,\s\"']+)\}")
_GOT = re.compile(r"got\s+\"?([a-z_]{3,64})\"?")
_NOT_SUBSCRIBED: Final = {
    Flavour.PAGE: "Meta перестала надсилати повідомлення цієї сторінки. Підключаємо її знову; якщо не "
    "вдасться, перевірте доступ застосунку до сторінки.",
    Flavour.INSTAGRAM_BY_PAGE: "Meta перестала надсилати повідомлення цього акаунта Instagram. Підключаємо "
    "його знову; якщо не вдасться, перевірте зв'язок зі сторінкою і в Instagram → Налаштування → "
    "Повідомлення → Підключені інструменти увімкніть «Дозволити доступ до повідомлень».",
    Flavour.INSTAGRAM_LOGIN: "Instagram перестав надсилати повідомлення цього акаунта. Підключаємо його "
    "знову; якщо не вдасться, в Instagram → Налаштування → Повідомлення → Підключені інструменти увімкніть "
    "«Дозволити доступ до повідомлень».",
}


def wanted_fields(flavour: Flavour) -> Fields:
    """What an account of this sort subscribes to."""
    return _WANTED[flavour]


def chosen(fields: Fields, legal: Collection[str] | None, refused: Collection[str]) -> tuple[str, ...]:
    """Of each field the spelling to ask for; nothing of one that is refused in all of them.

    Args:
        fields: as wanted.
        legal: what Meta said it takes; None if it did not say.
        refused: what it refused.
    """
    found = []
    for spellings in fields:
        taken = (one for one in spellings if one not in refused and (legal is None or one in legal))
        name = next(taken, None)
        if name is not None:
            found.append(name)
    return tuple(found)


def illegal_of(error: Node, asked: Sequence[str]) -> tuple[frozenset[str], frozenset[str] | None] | None:
    """Which of the fields Meta does not take, and all it takes if it says so; None: that is not the matter.

    The one place where words of an error are read: nothing else in it says which field is meant.
    Source: fact sheet 4, «the error lists the legal ones».
    """
    if integer(error.get("code")) != BAD_PARAMETER:
        return None
    said = text(error.get("message")) or ""
    listed = _LEGAL.search(said)
    legal = None
    if listed is not None:
        legal = frozenset(one for one in (part.strip(" \"'\n") for part in listed.group(1).split(",")) if one)
        if "messages" not in legal:
            legal = None
    got = _GOT.search(said)
    bad = {one for one in asked if legal is not None and one not in legal}
    bad |= {got.group(1)} & set(asked) if got is not None else set()
    return (frozenset(bad), legal) if bad else None


def to_identity(account: Account, flavour: Flavour, told: Node) -> Identity:
    """Which account it is.

    Args:
        account: with the credentials as the administrator gave them.
        flavour: of it.
        told: `/me` with ID_FIELDS.

    Raises:
        CredentialsInvalid: the token is of another page, or the page has no Instagram account.
    """
    page_id = opaque(told.get("id"), WORD_MAX_CHARS) or ""
    if flavour.is_by_page and (not page_id or page_id != account.credentials.get("page_id")):
        raise CredentialsInvalid(
            "Це токен не цієї сторінки. Візьміть токен саме сторінки з указаним page_id і замініть ключ."
        )
    if flavour is Flavour.PAGE:
        return Identity(
            account_id=page_id,
            account_name=words(told.get("name"), NAME_MAX_CHARS),
            also_known_as=(f"{PAGE_PREFIX}{page_id}",),
        )
    if flavour is Flavour.INSTAGRAM_BY_PAGE:
        told = node(told.get("instagram_business_account"))
        found = opaque(told.get("id"), WORD_MAX_CHARS)
        problem = (
            "До цієї сторінки не під'єднано професійного акаунта Instagram. Під'єднайте його в Meta Business "
            "Suite або залиште page_id порожнім і вкажіть токен Instagram."
        )
    else:
        # `id` is of the app alone, and webhooks do not know it (fact sheet 1.1).
        found = opaque(told.get("user_id"), WORD_MAX_CHARS)
        problem = "Instagram не назвав акаунта цього токена. Увійдіть професійним акаунтом і замініть токен."
    if found is None:
        raise CredentialsInvalid(problem)
    username = words(told.get("username"), WORD_MAX_CHARS)
    return Identity(
        account_id=found,
        account_name=None if username is None else f"@{username.removeprefix('@')}",
        also_known_as=(f"{PAGE_PREFIX}{page_id}",) if flavour.is_by_page else (),
    )


def our_fields(subscribed: Iterable[object], app_id: str | None) -> frozenset[str] | None:
    """What our app is subscribed to; None if it is not subscribed at all.

    Args:
        subscribed: `data` of `subscribed_apps`.
        app_id: of our app, of the token; None if nobody says: then any app counts as ours.
    """
    apps = [app for app in subscribed if is_node(app)]
    # An app without fields gets nothing; one that does not tell them is believed.
    told_of = [app for app in apps if app.get("subscribed_fields") != []]
    ours = [app for app in told_of if app_id is None or opaque(app.get("id")) in {app_id, None}]
    if not ours:
        return None
    told = [name for app in ours for name in items(app.get("subscribed_fields"))]
    return frozenset(name for name in told if isinstance(name, str))


def to_report(
    flavour: Flavour, fields: frozenset[str] | None, refused: Collection[str], problem: str | None
) -> ConnectionReport:
    """How an account is connected.

    Args:
        flavour: of it.
        fields: what our app is subscribed to; None: not at all.
        refused: fields Meta does not take, which are not missed.
        problem: of the token; None if there is none.
    """
    if fields is None:
        return ConnectionReport(
            connected=False, problem=_NOT_SUBSCRIBED[flavour], pending_updates=None, is_dropped=True
        )
    missing = sorted(_NEEDED[flavour] - fields - set(refused))
    # An answer without a list says nothing against any field.
    if fields and missing:
        text_of = (
            f"Meta не надсилає частини подій цього акаунта ({', '.join(missing)}). Підключаємо їх знову."
        )
        return ConnectionReport(connected=False, problem=text_of, pending_updates=None, is_dropped=True)
    return ConnectionReport(connected=True, problem=problem, pending_updates=None)
