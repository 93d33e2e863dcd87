"""The house rules a linter does not know: sizes, names, what must not be in the project."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bot", "connectors", "hub", "storage")
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
VAGUE = {"utils", "helpers", "common", "misc", "services", "managers"}


@cache
def parsed() -> dict[Path, ast.Module]:
    """Each module's syntax tree."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_functions_stay_readable() -> None:
    long = []
    for path, tree in parsed().items():
        for node in ast.walk(tree) if "migrations" not in path.parts else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.name} ({size})")
    assert long == []


def test_no_module_is_named_for_nothing() -> None:
    assert names([p for p in MODULES if p.stem in VAGUE]) == []


def test_every_module_says_what_it_is_for() -> None:
    assert names([path for path, tree in parsed().items() if tree.body and not ast.get_docstring(tree)]) == []


@pytest.mark.parametrize("pattern", ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"])
def test_nothing_is_left_for_later(pattern: str) -> None:
    assert names([p for p in MODULES if re.search(rf"\b{pattern}\b", p.read_text())]) == []


#: Old-fashioned words for which a plain one exists: again, no process, another member, recognised, fixed, notified.
RIDDLES = r"(?<![a-z])(?:anew|nobody|somebody|whence|told apart|told of|mend(?:s|ed|ing)?|in [\w']+ stead)(?![a-z])"


def test_sentences_are_plain() -> None:
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    others = [path for name in ("bench", "tests") for path in (ROOT / name).rglob("*.py") if path != Path(__file__)]
    written = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*MODULES, *others, *documents]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(RIDDLES, line, re.IGNORECASE)
    ]
    assert written == []


PRIVATE_NAMES = re.compile(
    r"_?(?:Straight|AtOnce|Lowered|Asked|Arrival|Turn|Came|Maker|Jar|Mint|Door|Look|Told|Desk|Wanted|Round|Acting|Seen|Anew|Brought|\w*Told\w*)"
    r"|_?(?:driven|told_apart\w*|elder_\w+|went|anew|settled_elsewhere|came|said|told|_turn)"
)


def test_classes_and_functions_have_the_words_of_the_trade() -> None:
    private = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, tree in parsed().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and PRIVATE_NAMES.fullmatch(node.name)
    ]
    assert private == []


READERS = {f"storage/ledger/{name}.py" for name in ("numbers", "money", "tables")}


@pytest.mark.parametrize(
    "pattern", [r"\bfloat\(", r"\bDecimal\(", r"\bcsv\.", r"(?m)^\s*import csv\b", r"\bfrom csv\b"]
)
def test_numbers_and_tables_are_read_in_one_place(pattern: str) -> None:
    result = set(names([path for path in MODULES if re.search(pattern, path.read_text())]))
    assert sorted(result - READERS) == []


def test_the_lock_names_no_index() -> None:
    assert not re.search(r"https?://|index-url|find-links", (ROOT / "requirements.lock").read_text())


def test_every_package_is_in_the_lock_with_hashes() -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_every_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    expected = set(re.findall(r'^    "([a-z-]+)(?:\[[a-z]+\])?[>=",]', project, re.MULTILINE))
    log = (ROOT / "docs" / "dependencies.md").read_text()
    assert sorted(name for name in expected if f"`{name}`" not in log) == []


def test_layers_hold() -> None:
    command = [str(ROOT / ".venv/bin/lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
