"""One process serves an SQLite database: who is a returning visitor, and what waits, is known to that one alone."""

import fcntl
import os
from pathlib import Path

from storage.ledger.errors import CasinoFluxError


def take(folder: Path) -> int:
    """Lock the database's spool folder for as long as this process lives; the descriptor that holds the lock.

    Raises CasinoFluxError while another process serves the database, OSError if the folder cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CasinoFluxError(
            "another casinoflux serve is at work on this database, and on SQLite one process does it all: stop that "
            "one, or set another CASINOFLUX_DATABASE_URL"
        ) from None
    return descriptor
