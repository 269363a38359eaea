"""Takes tokens, keys and phone numbers out of text that is about to leave the process."""

from __future__ import annotations

import json
import re
import threading

SCRUBBED = "***"

MIN_SECRET_CHARS = 8
"""Shorter values are not registered: they would tear holes into ordinary words."""

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # In the path of a Bot API call, also a short test token and an encoded colon.
    (re.compile(r"/bot\d{3,}(?::|%3A)[^/\s\"'?]+", re.IGNORECASE), f"/bot{SCRUBBED}"),
    (re.compile(r"\b\d{6,}(?::|%3A)[A-Za-z0-9_-]{30,}", re.IGNORECASE), SCRUBBED),
    (re.compile(r"\bBearer\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), f"Bearer {SCRUBBED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), SCRUBBED),
    (re.compile(r"\bEAA[A-Za-z0-9]{16,}"), SCRUBBED),
    (re.compile(r"\b[0-9a-z]{16}-[0-9a-z]{16}-[0-9a-z]{16}\b", re.IGNORECASE), SCRUBBED),
    # user:password@ in an address
    (re.compile(r"(?<=://)[^/\s:@\"]*:[^/\s@\"]+(?=@)"), SCRUBBED),
    # A phone number: 10 to 15 digits after a plus, also grouped by blanks, dashes or brackets;
    # and a Ukrainian one without the plus.
    (re.compile(r"(?:\+|%2B)\d(?:[ ().\-]{0,2}\d){9,14}(?!\d)", re.IGNORECASE), SCRUBBED),
    (re.compile(r"(?<![\w.+-])380\d{9}(?![\w.])"), SCRUBBED),
    # pydantic repeats the refused value in its messages: that may be a client's words.
    (re.compile(r"input_value=.*?, input_type="), f"input_value={SCRUBBED}, input_type="),
)


class Redactor:
    """The patterns above and the secrets this process has loaded."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def register(self, value: str) -> None:
        """Makes every later occurrence of `value` unreadable."""
        if len(value) < MIN_SECRET_CHARS:
            return
        # Inside a JSON line a quote or a backslash of the secret is escaped.
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        with self._lock:
            known = forms.union(self._secrets)
            # The longest first: one secret may be a part of another.
            self._secrets = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))

    def scrub(self, text: str) -> str:
        """The text without secrets and phone numbers."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, SCRUBBED)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


redactor = Redactor()
"""One per process: a secret registered anywhere is scrubbed everywhere."""
