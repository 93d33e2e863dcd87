"""Modules that libraries load at their start and that nothing here uses: 20 MB of memory in each process."""

import sys
from types import ModuleType


class _Unused(ModuleType):
    """Stands for a module that a library imports names from and that nothing here calls."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _CommandLine(_Unused):
    """uvicorn's, from which its package imports the server."""

    def __getattr__(self, name: str) -> type:
        if name != "Server":
            return super().__getattr__(name)
        from uvicorn.server import Server

        return Server


def leave_out() -> None:
    """Call before the first import of a library."""
    # httpx and structlog would load these for a command line and tracebacks that are not used here: 6 MB.
    for name in ("rich", "click"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    # SQLAlchemy's sessions would load its ORM, which nothing uses, and Litestar YAML for pages it does not serve: 7 MB.
    for name in ("sqlalchemy.ext.asyncio.session", "sqlalchemy.ext.asyncio.scoping", "yaml"):
        sys.modules.setdefault(name, _Unused(name))
    sys.modules.setdefault("uvicorn.main", _CommandLine("uvicorn.main"))
    # Litestar would load a plugin for models that only agents use: 8 MB.
    sys.modules.setdefault("pydantic", None)  # type: ignore[arg-type]


def let_pydantic_in() -> None:
    """For agents, whose SDK is made of such models. Call before its first import."""
    if sys.modules.get("pydantic", True) is None:
        del sys.modules["pydantic"]
