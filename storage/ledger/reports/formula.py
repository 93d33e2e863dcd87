"""Own columns of a report: a formula over its measures, such as `profit / commission * 100`."""

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.reports.arrange import Measure, measure
from storage.ledger.reports.report_rows import MergedReport, ReportRow

LONGEST = 200  # characters
#: Measures in micro-units of the report currency; a formula sees them in whole units.
AMOUNTS = {
    "commission",
    "commission_cpa",
    "commission_revshare",
    "ngr",
    "spend",
    "profit",
    "deposit_amount",
    "epc",
    "cpa",
}

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_LARGEST = 10**30  # of a number in a formula, and of what comes of it


def read_formula(text: str) -> Measure:
    """What a formula gives for a row: a number in whole units; None where a part of it is not known,
    divides by 0 or passes 10^30.

    Numbers, measures, `+ - * /` and brackets. Raises Refused at `own`, naming the part that cannot be read.
    """
    if len(text) > LONGEST:
        raise Refused(f"own: a formula may have {LONGEST} characters at most", field="own")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise Refused(f"own: {text!r} is no formula: write e.g. profit / commission * 100", field="own") from None
    return _node(tree.body)


def with_own(report: MergedReport, columns: Mapping[str, Measure]) -> MergedReport:
    """The report with the columns' values in its rows, what no offer claims and the totals, as `own`."""

    def filled(row: ReportRow) -> ReportRow:
        values = {name: read(row) for name, read in columns.items()}
        own = {name: None if value is None else value.numerator / value.denominator for name, value in values.items()}
        return msgspec.structs.replace(row, own=own)

    return msgspec.structs.replace(
        report, rows=[filled(row) for row in report.rows], unassigned=[filled(row) for row in report.unassigned],
        totals=filled(report.totals),
    )  # fmt: skip


def _node(node: ast.expr) -> Measure:
    if (
        isinstance(node, ast.Constant)
        and isinstance(number := node.value, int | float)
        and not isinstance(number, bool)
    ):
        return _constant(number)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _node(node.operand)
        return lambda row: None if (value := inner(row)) is None else -value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _calculation(_OPERATORS[type(node.op)], _node(node.left), _node(node.right))
    if isinstance(node, ast.Name | ast.Attribute):
        return _measure(ast.unparse(node).lower())
    part = ast.unparse(node)
    raise Refused(f"own: {part!r} cannot be used: a formula has numbers, measures, + - * / and brackets", field="own")


def _constant(written: int | float) -> Measure:
    if abs(written) > _LARGEST:  # `1e400` is read as infinity
        raise Refused("own: the number is too large", field="own")
    number = Fraction(str(written))
    return lambda _row: number


def _measure(name: str) -> Measure:
    try:
        read = measure(name)
    except Refused as error:
        raise Refused(str(error).replace("sort:", "own:", 1), field="own") from None
    if name.partition(".")[0] not in AMOUNTS:
        return read
    return lambda row: None if (value := read(row)) is None else Fraction(value) / 1_000_000


def _calculation(calculate: Callable[[Fraction, Fraction], Fraction], left: Measure, right: Measure) -> Measure:
    def read(row: ReportRow) -> Fraction | None:
        first, second = left(row), right(row)
        if first is None or second is None or (calculate is operator.truediv and not second):
            return None
        value = calculate(Fraction(first), Fraction(second))
        return value if abs(value) <= _LARGEST else None

    return read
