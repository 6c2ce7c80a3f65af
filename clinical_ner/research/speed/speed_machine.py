"""What figures of speed depend on beside the program: the machine and the versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Distributions whose version is told, where they are installed.
PACKAGES = (
    "clinical-ner",
    "numpy",
    "onnxruntime",
    "spacy",
    "spacy-transformers",
    "thinc",
    "tokenizers",
    "torch",
    "transformers",
)
CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, str | int | None]:
    """Name and number of the processors, and the system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that do the work."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
