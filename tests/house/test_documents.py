"""Documents lead somewhere: every relative link of the README and docs names a file there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    result = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text)
    local = [link for link in result if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_every_setting_is_documented() -> None:
    from msgspec.structs import fields

    from hub.runtime.settings import Settings

    log = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    short = {name.removeprefix("…_") for name in re.findall(r"`(…_[A-Z_]+)`", log)}
    names = [f"CASINOFLUX_{field.name.upper()}" for field in fields(Settings)]
    assert [n for n in names if n not in log and not any(n.endswith(end) for end in short)] == []


def _package_files(text: str) -> list[str]:
    return re.findall(r"`((?:bot|connectors|hub|storage|tests|bench)/[\w/]+\.py)`", text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [name for name in _package_files(text) if not (ROOT / name).is_file()] == []
    folders = re.findall(r"`((?:bot|connectors|hub|storage|tests|bench)(?:/\w+)+)/?(?:<[^`]+)?`", text)
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_architecture_names_functions_of_the_files_beside_them() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)` \((?:\*\*[^*]+\*\* in )?(`[^)]+`)\)", text)
    assert len(named) > 10
    for file, names in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        defined = set(re.findall(r"(?:def|class) (\w+)", source))
        assert {part for name in re.findall(r"`([\w.]+)`", names) for part in name.split(".")} <= defined, file


PACKAGES = ("bot", "connectors", "hub", "storage")
MODULES = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]


def test_the_architecture_names_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    layout = text.partition("## Folders")[2].split("```")[1]
    blocks = re.findall(r"^(\w+)/[^\n]*((?:\n  [^\n]*)*)", layout, re.MULTILINE)
    named = {package: set(re.findall(r" (\w+)/", block)) - {"costs"} for package, block in blocks}
    for package in PACKAGES:
        assert named[package] == {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}, package


def _sentences(path: Path) -> str:
    """A document, or the docstrings and comments of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return "\n".join(re.findall(r'"""[\s\S]*?"""|#[: ].*', text))


def _is_there(name: str) -> bool:
    """Whether a dotted name is a module or folder, or a name within one."""
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        path = ROOT.joinpath(*parts[:end])
        if path.is_dir():
            return end == len(parts)
        if (file := path.with_suffix(".py")).is_file():
            return all(re.search(rf"\b{part}\b", file.read_text(encoding="utf-8")) for part in parts[end:])
    return False


def test_modules_named_in_sentences_exist() -> None:
    names = {
        (path.name, name)
        for path in [*DOCUMENTS, *MODULES]
        for name in re.findall(r"(?<![\w./-])((?:bot|connectors|hub|storage)(?:\.[a-zA-Z_]\w*)+)", _sentences(path))
        if not name.endswith((".md", ".py"))
    }
    assert len(names) > 50
    assert sorted(pair for pair in names if not _is_there(pair[1])) == []


def test_methods_named_in_documents_exist() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in [*MODULES, *(ROOT / "tests").rglob("*.py")])
    for path in DOCUMENTS:
        for class_, name in re.findall(r"`([A-Z]\w*[a-z]\w*)\.(\w+)`", path.read_text(encoding="utf-8")):
            assert re.search(rf"class {class_}\b", source), (path.name, class_)
            assert re.search(rf"def {name}\b|\b{name}:", source), (path.name, name)


def test_every_table_is_described_once() -> None:
    from storage.tables import metadata

    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(metadata.tables)
    modules = re.findall(r"`((?:bot|hub|storage)\.[\w.]+)`", text)
    assert [
        m
        for m in modules
        if not ((ROOT / m.replace(".", "/")).is_dir() or (ROOT / (m.replace(".", "/") + ".py")).is_file())
    ] == []


def test_the_tests_to_run_exist() -> None:
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    folders = re.findall(r"`(tests/[\w/]+?)/?`", text)
    assert len(folders) > 10
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


_CLAIMS_NOTHING = ("does not apply", "do not apply", "left")


def test_what_security_claims_names_a_test_there_is() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ", 1) for line in text.splitlines() if re.match(r"\| (\*\*)?V\d", line)]
    claims = {row[0]: row[1] for row in rows if len(row) == 2 and not row[1].startswith(_CLAIMS_NOTHING)}
    assert len(claims) > 40
    assert [section for section, claim in claims.items() if "`tests/" not in claim] == []
    for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8"), (file, name)


def _examples(text: str) -> list[str]:
    """Commands in blocks of code, without the prefix of a face and the comment after them."""
    lines, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(re.sub(r"^(?:/flux |/|(?:\.venv/bin/)?casinoflux run )|\s+# .*", "", line.strip()))
    return lines


SHOWING_COMMANDS = {ROOT / "README.md", ROOT / "docs" / "automation.md", ROOT / "docs" / "campaigns.md"}
WITH_EXAMPLES = [path for path in DOCUMENTS if path.name != "commands.md"]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_examples_can_be_given_as_they_are_written(path: Path) -> None:
    import bot.commands  # noqa: F401  registers every command
    from bot.core.command import COMMANDS, parse

    nouns = {name.split()[0] for name in COMMANDS}
    lines = [line for line in _examples(path.read_text(encoding="utf-8")) if line and "─" not in line]
    given = [parse(line)[0].name for line in lines if line.split()[0] in nouns]  # a word too many raises Refused
    assert given or path not in SHOWING_COMMANDS


COMPARED = ("here", "Keitaro", "Binom", "Voluum", "RedTrack", "StatsDrone")


def _compared() -> tuple[list[list[str]], str]:
    """The rows of docs/compare.md, cells without the borders, and its list of addresses."""
    text = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    table, _, read = text.partition("\n## Read\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]
    return rows, read


def test_the_comparison_is_shown_by_commands_and_pictures_there_are() -> None:
    import bot.commands  # noqa: F401  registers every command
    from bot.core.command import COMMANDS
    from hub.__main__ import parser

    shell = next(a.choices for a in parser()._subparsers._group_actions if a.choices)  # type: ignore[union-attr]
    rows, _ = _compared()
    assert rows[0] == ["what", *COMPARED]
    assert len(rows) > 25
    for what, here, *_rivals in rows[1:]:
        words = re.findall(r"`([^`]+)`", here)
        unknown = [
            word
            for word in words
            if word not in COMMANDS and not word.endswith("=") and word.removeprefix("casinoflux ") not in (shell or {})
        ]
        assert unknown == [], what
        pictures = re.findall(r"\(pictures/([\w-]+\.png)\)", here)
        assert all((ROOT / "docs" / "pictures" / picture).is_file() for picture in pictures), what
        assert words or pictures or here.startswith(("**no**", "none, ")), what


def test_what_the_comparison_says_of_others_names_where_it_was_read() -> None:
    rows, read = _compared()
    addresses = dict(re.findall(r"^(\d+)\. (https://\S+)", read, re.MULTILINE))
    named = set()
    for what, _here, *rivals in rows[1:]:
        assert len(rivals) == len(COMPARED) - 1, what
        for said in rivals:
            numbers = re.findall(r"\[(\d+)\]", said)
            assert numbers or said in {"?", "–"}, (what, said)
            named.update(numbers)
    assert named == set(addresses)
