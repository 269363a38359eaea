"""House rules that no other tool sees. Prints `file:line rule message`; exit code 1 if there is any."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Finding:
    """One broken rule."""

    path: PurePosixPath
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.rule} {self.message}"


@dataclass(frozen=True)
class Module:
    """A parsed Python file; the path is relative to the repository."""

    path: PurePosixPath
    lines: list[str]
    tree: ast.Module

    def finding(self, node: ast.AST, rule: str, message: str) -> Finding:
        return Finding(self.path, getattr(node, "lineno", 1), rule, message)

    @property
    def is_msgkit(self) -> bool:
        return self.path.is_relative_to("libs/msgkit/src/msgkit")

    @property
    def is_testing(self) -> bool:
        """Tests and the kit for tests."""
        return self.path.is_relative_to("tests") or self.path.is_relative_to("libs/msgkit/src/msgkit/testing")

    @property
    def is_product(self) -> bool:
        """What runs in a service: not tests, not tools, not the bring-up."""
        return self.path.parts[0] in {"libs", "services"} and not self.is_testing


def main(root: Path = ROOT) -> int:
    """Checks every file of the repository, tracked or about to be."""
    findings = sorted(check(root), key=lambda found: (found.path, found.line, found.rule))
    for found in findings:
        print(found)
    return 1 if findings else 0


def check(root: Path) -> Iterator[Finding]:
    """Everything that breaks a rule under `root`."""
    for path in _files(root):
        yield from _file_name(path)
        content = (root / path).read_bytes()
        if b"\0" in content[:4096]:
            continue
        text = content.decode(errors="replace")
        yield from _addresses(path, text)
        if path.name == "QUALITY.yaml":
            yield from _quality(path, text, root)
        if path.suffix != ".py" or not text.strip():
            continue
        try:
            tree = ast.parse(text)
        except SyntaxError as exc:
            yield Finding(path, exc.lineno or 1, "syntax", "cannot be parsed; correct it first")
            continue
        module = Module(path, text.splitlines(), tree)
        for rule in _RULES:
            yield from rule(module)


def _files(root: Path) -> list[PurePosixPath]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout.decode()
    names = {PurePosixPath(name) for name in listed.split("\0") if name}
    return sorted(name for name in names if (root / name).is_file() and not (root / name).is_symlink())


# --- rules for every text file


_EMPTY_NAMES = re.compile(r"^_?(utils?|helpers?|common|base|managers?|misc)$", re.IGNORECASE)
_CODE_SUFFIXES = {".py", ".ts", ".tsx", ".js", ".mjs", ".css"}


def _file_name(path: PurePosixPath) -> Iterator[Finding]:
    if path.suffix not in _CODE_SUFFIXES:
        return
    for part in (*path.parts[:-1], path.name.split(".")[0]):
        if _EMPTY_NAMES.match(part):
            message = f"{part!r} says nothing: name the file after its role"
            yield Finding(path, 1, "file-name", message)


_FORBIDDEN_TEXT = (
    (
        re.compile(
            r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|npmjs\.com|registry\.yarnpkg\.com"
            r"|deb\.debian\.org|security\.debian\.org|proxy\.golang\.org|crates\.io)\b"
        ),
        "registry-address",
        "a package registry is configured on the machine, not named in a file",
    ),
    (
        re.compile(r"(?<![\w.~/$}-])/(?:work|root)/(?=\w|\.)"),
        "machine-path",
        "an absolute path of one machine: make it relative or a setting",
    ),
)


def _addresses(path: PurePosixPath, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, rule, message in _FORBIDDEN_TEXT:
            if pattern.search(line):
                yield Finding(path, number, rule, message)


# --- rules for Python


QUALITY_RULES = (
    "signature-over-raw-bytes",
    "constant-time-compare",
    "refuses-empty-secret",
    "fixture-per-event",
    "unknown-event-200",
    "batches-split",
    "dedup-id",
    "limits-with-source",
    "limit-unit-named",
    "error-table-with-source",
    "throttle-honoured",
    "no-token-in-event-or-log",
    "media-host-allow-list",
    "register-idempotent",
    "operator-manual",
)
"""What a connector must say of itself, per kind, in QUALITY.yaml."""
_QUALITY_LINE = re.compile(r"^  ([a-z0-9-]+): (.+?)\s*(?:#\s*(.*))?$")
_EXEMPT = re.compile(r'^"?exempt: .{10,}"?$')


def _quality(path: PurePosixPath, text: str, root: Path) -> Iterator[Finding]:
    """Every rule is answered; `done` names the test that shows it, or the file; `exempt` says why."""
    tests = "\n".join(file.read_text() for file in (root / "tests").rglob("test_*.py"))
    tests += "\n".join(file.read_text() for file in (root / "libs/msgkit/src/msgkit/testing").glob("*.py"))
    home = root / path.parent / "src"
    answered: dict[str, set[str]] = {}
    kind = ""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"^[a-z_]+:$", line):
            kind = line[:-1]
            answered[kind] = set()
        found = _QUALITY_LINE.match(line)
        if not found:
            continue
        rule, answer, evidence = found.groups()
        answered.setdefault(kind, set()).add(rule)
        if rule not in QUALITY_RULES:
            yield Finding(
                path, number, "quality", f"{rule} is no rule; the rules stand in tools/check_house.py"
            )
        elif answer == "done":
            named = re.findall(r"\btest_\w+", evidence or "")
            files = re.findall(r"[\w./-]+\.(?:py|md)\b", evidence or "")
            missing = [name for name in named if f"def {name}(" not in tests]
            missing += [name for name in files if not (root / name).exists() and not any(home.rglob(name))]
            if not named and not files:
                yield Finding(path, number, "quality", f"{rule}: done, but no test or file shows it")
            for name in missing:
                yield Finding(path, number, "quality", f"{rule}: {name} does not exist")
        elif answer != "todo" and not _EXEMPT.match(answer):
            yield Finding(path, number, "quality", f"{rule}: say done, todo, or exempt: and why")
    for kind, rules in answered.items():
        for rule in QUALITY_RULES:
            if rule not in rules:
                yield Finding(path, 1, "quality", f"{kind} says nothing of {rule}")
    if not answered:
        yield Finding(path, 1, "quality", "names no kind")


def _module_docstring(module: Module) -> Iterator[Finding]:
    docstring = ast.get_docstring(module.tree)
    if not docstring or not docstring.splitlines()[0].strip():
        yield Finding(module.path, 1, "docstring", "the module starts with one line that says its job")


_BUS = "libs/msgkit/src/msgkit/runtime/bus.py"
_RAW_BUS = re.compile(r"broker|exchange|channel|connection|amqp|rabbit", re.IGNORECASE)


def _publishing(module: Module) -> Iterator[Finding]:
    if not module.is_product or str(module.path) == _BUS:
        return
    for call in _calls(module.tree):
        if not isinstance(call.func, ast.Attribute):
            continue
        receiver = ast.unparse(call.func.value)
        name = call.func.attr
        raw = name in {"publish", "publish_batch", "publisher", "request"} and _RAW_BUS.search(receiver)
        if name == "basic_publish" or raw:
            message = f"`{receiver}.{name}` publishes past msgkit.runtime.bus: use its Publisher"
            yield module.finding(call, "publish", message)


_MONGO_HOME = "libs/msgkit/src/msgkit/runtime/mongo.py"
_MONGO = {"motor", "pymongo", "bson", "gridfs"}


def _mongo_imports(module: Module) -> Iterator[Finding]:
    if not module.is_product or str(module.path) == _MONGO_HOME:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.split(".")[0] in _MONGO:
                message = f"{name} is imported only by msgkit.runtime.mongo: take what you need from there"
                yield module.finding(node, "mongo-import", message)


_BUILT_IN_APP = re.compile(
    r"(Settings|Client|Broker|Publisher|Connection|FastAPI|Bot|Mongo|Background|ServiceTokens|create_app)$"
)


def _built_at_import(module: Module) -> Iterator[Finding]:
    if not module.is_product:
        return
    for call in _calls_at_import(module.tree):
        name = ast.unparse(call.func).split(".")[-1]
        if _BUILT_IN_APP.search(name):
            message = f"{name}(…) runs at import: build it in app.py and pass it on"
            yield module.finding(call, "built-at-import", message)


def _calls_at_import(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls that run when the module is imported: not in functions, not under `if __name__ == "__main__"`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


_BROAD = {"Exception", "BaseException"}


def _broad_excepts(module: Module) -> Iterator[Finding]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield module.finding(node, "bare-except", "name what is caught, and the narrowest")
            elif not module.is_msgkit and _names_broad(node.type):
                yield module.finding(
                    node, "broad-except", "catch the narrowest type; only msgkit may catch all"
                )
        elif isinstance(node, ast.Call) and not module.is_msgkit:
            is_suppress = ast.unparse(node.func).split(".")[-1] == "suppress"
            if is_suppress and any(_names_broad(argument) for argument in node.args):
                yield module.finding(node, "broad-except", "suppress the narrowest type, not everything")


def _names_broad(node: ast.expr) -> bool:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(ast.unparse(part).split(".")[-1] in _BROAD for part in parts)


def _naive_time(module: Module) -> Iterator[Finding]:
    for call in _calls(module.tree):
        if not isinstance(call.func, ast.Attribute) or not _is_datetime(call.func.value):
            continue
        name = call.func.attr
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        naive = (
            name in {"utcnow", "utcfromtimestamp", "today"}
            or (name == "now" and (not given or ast.unparse(given[0]) == "None"))
            or (name == "fromtimestamp" and len(given) < 2)
        )
        if naive:
            yield module.finding(call, "naive-time", f"datetime.{name} is naive: use msgkit.runtime.clock")


def _is_datetime(node: ast.expr) -> bool:
    return ast.unparse(node).split(".")[-1] == "datetime"


_LIMIT_NAME = re.compile(r"(^|_)LIMITS?(_|$)|^_?MAX_")


def _limits_with_source(module: Module) -> Iterator[Finding]:
    package = re.match(r"services/ingest-[^/]+/src/", str(module.path))
    if package is None:
        return
    body = module.tree.body
    for node, following in zip(body, [*body[1:], None], strict=True):
        for name in _assigned_names(node):
            if name == name.upper() and _LIMIT_NAME.search(name) and "Source:" not in _text_of(following):
                message = f"{name} is a provider's limit: a docstring below it gives the unit and `Source:`"
                yield module.finding(node, "limit-source", message)


def _assigned_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _text_of(node: ast.stmt | None) -> str:
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return node.value.value
    return ""


def _sleeps_in_tests(module: Module) -> Iterator[Finding]:
    if not module.path.is_relative_to("tests"):
        return
    for call in _calls(module.tree):
        if ast.unparse(call.func).split(".")[-1] != "sleep":
            continue
        # The comment may stand on the line before, on the call or at its end.
        around = module.lines[max(0, call.lineno - 2) : call.end_lineno or call.lineno]
        if not any("# pace:" in line for line in around):
            message = "wait for what you mean; a sleep that only sets a pace says so with `# pace: why`"
            yield module.finding(call, "sleep", message)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


_RULES: tuple[Callable[[Module], Iterator[Finding]], ...] = (
    _module_docstring,
    _publishing,
    _mongo_imports,
    _built_at_import,
    _broad_excepts,
    _naive_time,
    _limits_with_source,
    _sleeps_in_tests,
)


if __name__ == "__main__":
    sys.exit(main())
