"""What pages and Instagram have of the Graph API: its two hosts, their ids and their tokens.

Source: fact sheet 2.1, 2.8.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import quote

from ingest_meta.flavours import FACEBOOK_URL, INSTAGRAM_URL, flavour_of
from ingest_meta.refusals import row_of, to_error
from msgkit.connector.contract import Account
from msgkit.connector.errors import CredentialsInvalid, MessageRejected
from msgkit.connector.graph_api import Dialect, Graph, access_token
from msgkit.connector.raw import Node
from msgkit.contracts.words import FailureCode

_ID = re.compile(r"[0-9]{1,32}")


def graph(
    facebook_url: str = FACEBOOK_URL,
    instagram_url: str = INSTAGRAM_URL,
    monotonic: Callable[[], float] = time.monotonic,
) -> Graph:
    """The connections for all accounts.

    Args:
        facebook_url: of pages and Instagram through pages, without an `api_base` of their own.
        instagram_url: the same of Instagram's own login.
        monotonic: seconds that only rise, for the pauses.
    """
    dialect = Dialect(
        service="meta",
        base_url=lambda account: facebook_url if flavour_of(account).is_by_page else instagram_url,
        token=token_of,
        refusal=to_error,
        usage_headers=("X-Business-Use-Case-Usage", "X-App-Usage"),
        is_silence=_is_failure_nobody_knows,
    )
    return Graph(dialect, monotonic)


def own_id(given: str) -> str:
    """The id of a page or an account of ours as a step of a path.

    Raises:
        CredentialsInvalid: it is none, and would lead elsewhere.
    """
    if not _ID.fullmatch(given):
        raise CredentialsInvalid(
            "Ідентифікатор сторінки або акаунта має складатися з цифр. Перевірте page_id і замініть ключ."
        )
    return given


def step(given: str) -> str:
    """An opaque id of Meta's as a step of a path.

    Raises:
        MessageRejected: it would lead elsewhere.
    """
    if not given.strip("."):
        raise MessageRejected(
            FailureCode.REJECTED, "Meta дала неправильний ідентифікатор. Зверніться до підтримки."
        )
    return quote(given, safe="")


def token_of(account: Account) -> str:
    """The token of the account.

    Raises:
        CredentialsInvalid: it cannot be one.
    """
    return access_token(
        account, "Токен доступу Meta має неправильний вигляд. Скопіюйте його ще раз і замініть ключ."
    )


def _is_failure_nobody_knows(status: int, error: Node) -> bool:
    """A code nobody knows on a failure of the server says nothing against the message."""
    return status >= 500 and row_of(error) is None
