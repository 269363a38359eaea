"""Everybody who has a phone: the same person for every messenger and every bot."""

import random
import zlib
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

_FIRST_NAMES = {
    "Олександр": "oleksandr", "Наталія": "nataliia", "Ірина": "iryna", "Андрій": "andrii", "Юлія": "yuliia",
    "Богдан": "bohdan", "Світлана": "svitlana", "Дмитро": "dmytro", "Катерина": "kateryna", "Василь": "vasyl",
    "Оксана": "oksana", "Сергій": "serhii", "Галина": "halyna", "Роман": "roman", "Соломія": "solomiia",
    "Петро": "petro",
}  # fmt: skip
_LAST_NAMES = {
    "Коваленко": "kovalenko", "Шевченко": "shevchenko", "Бондаренко": "bondarenko", "Ткачук": "tkachuk",
    "Кравченко": "kravchenko", "Мельник": "melnyk", "Поліщук": "polishchuk", "Савченко": "savchenko",
    "Гончаренко": "honcharenko", "Левченко": "levchenko", "Руденко": "rudenko", "Мороз": "moroz",
}  # fmt: skip
_DEMO_NAMES = {"olena": "Олена", "taras": "Тарас", "maria": "Марія"}


class User(BaseModel):
    """A person with a phone; `id` is Telegram's, other messengers make their own of the short id."""

    model_config = ConfigDict(frozen=True)

    client: str
    id: int
    first_name: str
    last_name: str | None = None
    username: str | None = None
    language_code: str = "uk"
    phone_number: str

    @property
    def full_name(self) -> str:
        """Name as the phone book would show it."""
        return self.first_name if self.last_name is None else f"{self.first_name} {self.last_name}"


class People:
    """Everybody who has a phone. The short id is the key: the same id is the same person, for ever."""

    def __init__(self, users: dict[str, User], changed: Callable[[], None]) -> None:
        self._users = users
        self._by_id = {user.id: user for user in users.values()}
        self._changed = changed

    def get(self, client: str, name: str | None = None) -> User:
        """The person behind the short id; made at the first use, renamed when `name` is given."""
        known = self._users.get(client)
        if known is not None and (name is None or known.full_name == name):
            return known
        person = _new_user(client) if known is None else known
        if name is not None:
            first, _, last = name.partition(" ")
            person = person.model_copy(update={"first_name": first, "last_name": last or None})
        self._users[client] = person
        self._by_id[person.id] = person
        self._changed()
        return person

    def by_id(self, user_id: int) -> User | None:
        """The person with this Telegram id."""
        return self._by_id.get(user_id)

    def all(self) -> dict[str, User]:
        """Everybody, by short id."""
        return dict(self._users)


def _new_user(client: str) -> User:
    number = zlib.crc32(client.encode())
    dice = random.Random(number)  # noqa: S311  # a name, the same for the same short id
    phone_number = f"38067{dice.randrange(10_000_000):07d}"
    user_id = 5_000_000_000 + number
    if client in _DEMO_NAMES:
        return User(
            client=client,
            id=user_id,
            first_name=_DEMO_NAMES[client],
            username=f"{client}_demo",
            phone_number=phone_number,
        )
    first = dice.choice(list(_FIRST_NAMES))
    last = dice.choice(list(_LAST_NAMES))
    username = f"{_FIRST_NAMES[first]}_{_LAST_NAMES[last]}_{number % 1000}"
    return User(
        client=client,
        id=user_id,
        first_name=first,
        last_name=last if dice.random() < 0.8 else None,
        username=username if dice.random() < 0.6 else None,
        phone_number=phone_number,
    )
