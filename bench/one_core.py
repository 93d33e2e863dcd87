"""`casinoflux serve` on the first core, its helper process as on a machine of two: `python -m bench.one_core serve …`

The helper process decides by the cores that it may use how it gives way to the hub (hub/runtime/helper_process.py), and
inherits them from the thread that starts it: so that thread may use all for the moment. With the hub's core alone the
helper would take a tenth of that, as it does on a machine that has no other.
"""

import os
import subprocess

from hub import __main__ as hub
from hub.runtime import helper_process

_start = helper_process._start


def main() -> None:
    cores = os.sched_getaffinity(0)
    first = {min(cores)}

    def start() -> "subprocess.Popen[bytes]":
        os.sched_setaffinity(0, cores)  # of this thread
        try:
            return _start()
        finally:
            os.sched_setaffinity(0, first)

    helper_process._start = start
    os.sched_setaffinity(0, first)
    hub.main()


if __name__ == "__main__":
    main()
