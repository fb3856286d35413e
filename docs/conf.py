"""Sphinx: the manual as HTML (`make docs`) and the man pages (`make man`)."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
_found = re.search(r'VERSION.*?=\s*"([^"]+)"', (ROOT / "xapid/version.py").read_text())
if _found is None:
    raise RuntimeError("xapid/version.py names no version")

project = "xapid"
version = release = _found[1]
author = "The xapid developers"
copyright = f"{date.today().year}, {author}"  # noqa: A001 - the name that Sphinx reads

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
highlight_language = "none"

html_theme = "alabaster"
html_theme_options = {
    "description": "The XenAPI for any dom0",
    "fixed_sidebar": True,
    "page_width": "1100px",
}
html_show_sourcelink = False

man_show_urls = False
man_make_section_directory = False
man_pages = [
    ("xapid", "xapid", "serve the XenAPI of a Xen host", author, 8),
    ("configuration", "xapid.toml", "settings of xapid", author, 5),
    ("recovery", "xapid-recovery", "what to do when a host with xapid is in trouble", author, 7),
    ("xe", "xe", "drive Xen hosts through the XenAPI", author, 1),
]
