"""`python -m bench [clicks|volume|workers|postbacks|outbound …]` measures what was reached against what is wanted.

All of them take about a quarter of an hour. Exit code 1 if a line is missed.
"""

import sys
from importlib import import_module

from bench.stage import Line, machine, table

MODULES = ("clicks", "workers", "volume", "postbacks", "outbound", "chats", "revenue", "long_work")


def main(names: list[str]) -> int:
    print(machine(), flush=True)
    found: list[Line] = []
    for name in names or MODULES:
        lines = import_module(f"bench.{name}").lines()
        print(f"\n## {name}\n{table(lines)}", flush=True)
        found += lines
    missed = [line.measure for line in found if not line.met]
    print(
        f"\n{len(found) - len(missed)} of {len(found)} lines met" + (f"; missed: {'; '.join(missed)}" if missed else "")
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
