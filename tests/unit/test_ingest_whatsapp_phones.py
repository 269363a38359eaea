"""wa_id and the number one dials: Brazil, Mexico and Argentina write one phone in two ways."""

from __future__ import annotations

import pytest

from ingest_whatsapp.phones import e164, same_phone, spellings, wa_id


@pytest.mark.parametrize(
    ("digits", "dialled", "others"),
    [
        ("380671112233", "+380671112233", ()),
        ("16505551234", "+16505551234", ()),
        # Meta's own test numbers lie in no range that is handed out.
        ("15550783881", "+15550783881", ()),
        ("4915112345678", "+4915112345678", ()),
        # Brazil: a mobile may come without its ninth digit, a landline never has one.
        ("5511987654321", "+5511987654321", ("551187654321",)),
        ("551187654321", "+5511987654321", ("5511987654321",)),
        ("556198765432", "+5561998765432", ("5561998765432",)),
        ("551133334444", "+551133334444", ()),
        ("551123334444", "+551123334444", ()),
        ("551153334444", "+551153334444", ()),
        # Without the 9 this would be somebody's landline.
        ("5511951234567", "+5511951234567", ()),
        # Mexico: the 1 after the country is not dialled any more.
        ("5215512345678", "+525512345678", ("525512345678",)),
        ("525512345678", "+525512345678", ("5215512345678",)),
        # Argentina: with 9 and without.
        ("5491123456789", "+5491123456789", ("541123456789",)),
        ("541123456789", "+541123456789", ("5491123456789",)),
    ],
)
def test_a_number_and_its_other_spelling(digits: str, dialled: str, others: tuple[str, ...]) -> None:
    assert e164(digits) == dialled
    assert spellings(digits) == others
    for other in others:
        assert same_phone(digits, other)
        assert same_phone(other, digits)


@pytest.mark.parametrize(
    "digits",
    ["", "12", "0380671112233", "38067111223", "99999999999999", "38067111223344556677", "abc", "UA.1"],
)
def test_what_cannot_be_dialled_is_no_number(digits: str) -> None:
    assert e164(digits) is None


def test_nobody_has_no_number() -> None:
    assert e164(None) is None
    assert not same_phone(None, None)
    assert not same_phone("380671112233", None)
    assert not same_phone("380671112233", "380671112234")


@pytest.mark.parametrize(
    ("value", "found"),
    [("380671112233", "380671112233"), ("+380671112233", "380671112233"), (" 380671112233 ", "380671112233")]
    + [(odd, None) for odd in ("", "+", "380 67 111", "US.13491208655302741918", "1234", "٣٨٠٦٧١١١٢٢٣٣")],
)
def test_only_digits_are_a_wa_id(value: str, found: str | None) -> None:
    assert wa_id(value) == found
