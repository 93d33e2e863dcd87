"""Every command, one noun a file. Importing this package registers them all in bot.core.command.COMMANDS."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
