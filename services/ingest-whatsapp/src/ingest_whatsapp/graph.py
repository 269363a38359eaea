"""WhatsApp's part of the Graph API: where it is, its ids and its token.

Source: fact sheet 2.1, 2.8.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from ingest_whatsapp.refusals import to_error
from msgkit.connector.contract import Account
from msgkit.connector.errors import CredentialsInvalid
from msgkit.connector.graph_api import Dialect, Graph, access_token

API_URL: Final = "https://graph.facebook.com"

_ID = re.compile(r"[A-Za-z0-9_]{1,128}")


def graph(api_url: str = API_URL, monotonic: Callable[[], float] = time.monotonic) -> Graph:
    """The connections for all numbers.

    Args:
        api_url: of numbers without an `api_base` of their own.
        monotonic: seconds that only rise, for the pauses.
    """
    dialect = Dialect(
        service="whatsapp",
        base_url=lambda _: api_url,
        token=token_of,
        refusal=to_error,
        usage_headers=("X-Business-Use-Case-Usage",),
    )
    return Graph(dialect, monotonic)


def ids(*given: str) -> str:
    """Ids as steps of a path.

    Raises:
        CredentialsInvalid: one of them is none, and would lead elsewhere.
    """
    if not all(_ID.fullmatch(one) for one in given):
        raise CredentialsInvalid(
            "phone_number_id і waba_id мають складатися з цифр. Візьміть їх у WhatsApp Manager і замініть."
        )
    return "/".join(given)


def token_of(account: Account) -> str:
    """The token of the number.

    Raises:
        CredentialsInvalid: it cannot be one.
    """
    return access_token(
        account, "Токен доступу WhatsApp має неправильний вигляд. Скопіюйте його ще раз і замініть ключ."
    )
