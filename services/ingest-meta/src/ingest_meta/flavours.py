"""Which of Meta's three doors an account uses: a page, Instagram through a page, Instagram's own login. Pure.

Source: fact sheet 2.1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ingest_meta.payloads import FACEBOOK, INSTAGRAM
from msgkit.connector.contract import Account

FACEBOOK_URL: Final = "https://graph.facebook.com"
INSTAGRAM_URL: Final = "https://graph.instagram.com"


class Flavour(StrEnum):
    """How an account is reached; the metrics say it too."""

    PAGE = "page"
    INSTAGRAM_BY_PAGE = "instagram_by_page"
    INSTAGRAM_LOGIN = "instagram_login"

    @property
    def is_instagram(self) -> bool:
        return self is not Flavour.PAGE

    @property
    def is_by_page(self) -> bool:
        """Calls go to a page, with the page's token."""
        return self is not Flavour.INSTAGRAM_LOGIN

    @property
    def platform(self) -> str:
        """Meta's own word for the messenger, e.g. of the Conversations API."""
        return "instagram" if self.is_instagram else "messenger"

    @property
    def webhook_object(self) -> str:
        """`object` of its webhooks. Source: fact sheet 1.1, «Routing to a channel record»."""
        return "instagram" if self.is_instagram else "page"


def flavour_of(account: Account) -> Flavour:
    """By its kind, and for Instagram by whether a page is given."""
    if account.kind != INSTAGRAM:
        return Flavour.PAGE
    return Flavour.INSTAGRAM_BY_PAGE if account.credentials.get("page_id") else Flavour.INSTAGRAM_LOGIN


def node_of(account: Account) -> str:
    """The id in the addresses of its calls: of the page, or of the Instagram account itself."""
    if flavour_of(account).is_by_page:
        page_id = account.credentials.get("page_id", "")
        return page_id or (account.account_id if account.kind == FACEBOOK else "")
    return account.account_id


def has_own_app(account: Account) -> bool:
    """Whether the tenant runs a Meta app of its own, whose webhooks come to an address of this account."""
    return bool(account.credentials.get("app_secret"))
