"""Makes the hash-locked requirement files: `make lock`, or `make lock UPGRADE=1` for newer versions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_HEAD = "# Made by `make lock` from the members' pyproject.toml: exact versions and hashes, no addresses.\n"
_ADDRESS = re.compile(r"://|^\s*(-e|--(extra-)?index-url|--find-links)\b|\bfile:", re.MULTILINE)
# What each lock is made from, in words of `uv pip compile`.
_LOCKS = {
    "requirements.lock": ["members"],
    "requirements-dev.lock": ["members", "dev"],
    "requirements-bootstrap.lock": ["bootstrap"],
    "requirements-node.lock": ["node"],
}


def main() -> int:
    """Compiles every lock; an address in one of them is an error."""
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    members = sorted(
        str(p.relative_to(ROOT)) for d in ("libs", "services") for p in ROOT.glob(f"{d}/*/pyproject.toml")
    )
    for name, parts in _LOCKS.items():
        sources = [word for part in parts for word in (members if part == "members" else _group(part))]
        _compile(name, [*sources, *upgrade])
        print(f"{name}: {len(re.findall('==', (ROOT / name).read_text()))} packages")
    return 0


def _group(name: str) -> list[str]:
    return ["--group", f"pyproject.toml:{name}"]


def _compile(name: str, sources: list[str]) -> None:
    command = [
        str(Path(sys.executable).parent / "uv"), "pip", "compile", "--quiet",
        "--universal", "--python-version", "3.11", "--generate-hashes",
        "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate",
        "--no-emit-package", "msgkit",  # a member, installed as it lies here
        "--output-file", name, *sources,
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    text = (ROOT / name).read_text()
    found = _ADDRESS.search(text)
    if found:
        raise SystemExit(f"{name} names an address near {found[0]!r}: a lock must work with every index.")
    (ROOT / name).write_text(_HEAD + text)


if __name__ == "__main__":
    sys.exit(main())
