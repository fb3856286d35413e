"""The native modules; everything else about the package is in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import setup

build = runpy.run_path(str(Path(__file__).resolve().parent / "native" / "build.py"))

setup(cffi_modules=build["modules"]())
