"""The SDK's file tools, without the two seconds that importing the whole SDK takes.

`anthropic/__init__.py` and `anthropic/types/beta/__init__.py` import every resource and every type. The toolset needs
six small types of them. So the packages on the way are entered by their folder, and a name that a package would have
re-exported is looked up in the module that defines it. Measured with 2.12.0: 0.3 s and 38 MB instead of 2 s and 75 MB.
When an SDK release no longer allows this, the ordinary import is taken.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from types import ModuleType
from typing import Any

TOOLSET = "anthropic.lib.tools.agent_toolset"
_PACKAGES = ("anthropic", "anthropic.lib", "anthropic.lib.tools", "anthropic.types", "anthropic.types.beta")


def load_toolset() -> Any:
    """The module `anthropic.lib.tools.agent_toolset`. Call it in a process that needs nothing else of the SDK."""
    if "anthropic" in sys.modules:
        return importlib.import_module(TOOLSET)
    try:
        return _load_alone()
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "anthropic"]:
            del sys.modules[name]
        return importlib.import_module(TOOLSET)


def _load_alone() -> Any:
    spec = importlib.util.find_spec("anthropic")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("The package anthropic is not installed.")
    folder = spec.submodule_search_locations[0]
    for name in _PACKAGES:
        sys.modules[name] = _bare_package(name, folder + name.removeprefix("anthropic").replace(".", "/"))
    importlib.import_module("anthropic._utils")  # first, as its imports are circular with `_compat`
    return importlib.import_module(TOOLSET)


def _bare_package(name: str, folder: str) -> ModuleType:
    """A package whose `__init__.py` is not run; `name.SomeType` is found in `name/some_type.py`."""
    package = ModuleType(name)
    package.__path__ = [folder]

    def find(attribute: str) -> Any:
        module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", attribute).lower()
        try:
            return getattr(importlib.import_module(f"{name}.{module}"), attribute)
        except ModuleNotFoundError as error:
            raise AttributeError(f"{name} has no {attribute}") from error

    package.__getattr__ = find  # type: ignore[method-assign]
    return package
