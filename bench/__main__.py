"""`python -m bench [--quick] [name …]`, the names as in MODULES

measures what was reached against what is wanted; without names all of it. Exit code 1 if a line is missed. `--quick`
takes fewer rounds over smaller data, some ten minutes in all; without it about half an hour.
"""

import os
import sys
from importlib import import_module

from bench.stage import Line, machine, table

MODULES = (
    "clicks",
    "rotation",
    "workers",
    "volume",
    "postbacks",
    "spool",
    "outbound",
    "chats",
    "revenue",
    "forecast",
    "cohorts",
    "distribution",
    "automation",
    "reader",
    "imports",
    "long_work",
    "memory",
)


#: What a quick run measures over, and how many rounds.
SMALL = {"BENCH_CLICKS": "1_000_000", "BENCH_REVENUE_ROWS": "200_000", "BENCH_LONG_ROWS": "250_000",
         "BENCH_IMPORT_DAYS": "100"}  # fmt: skip
QUICK: dict[str, dict[str, float]] = {
    "rotation": {"n": 3, "seconds": 2.0},
    "clicks": {"n": 3, "seconds": 2.0}, "workers": {"n": 3, "seconds": 2.0}, "volume": {"n": 3, "seconds": 2.0},
    "postbacks": {"n": 2, "seconds": 3.0}, "outbound": {"n": 2, "seconds": 3.0, "rest": 5.0},
    "spool": {"n": 1},
    "cohorts": {"n": 3, "number": 200_000}, "chats": {"times": 5, "n": 1, "seconds": 8.0},
    "long_work": {"n": 3, "seconds": 5.0},
}  # fmt: skip


def main(names: list[str]) -> int:
    quick = "--quick" in names
    names = [name for name in names if name != "--quick"]
    if quick:
        os.environ.update({name: value for name, value in SMALL.items() if name not in os.environ})
    print(machine(), flush=True)
    found: list[Line] = []
    for name in names or MODULES:
        lines = import_module(f"bench.{name}").lines(**(QUICK.get(name, {}) if quick else {}))
        print(f"\n## {name}\n{table(lines)}", flush=True)
        found += lines
    missed = [line.measure for line in found if not line.met]
    print(
        f"\n{len(found) - len(missed)} of {len(found)} lines met" + (f"; missed: {'; '.join(missed)}" if missed else "")
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
