"""A hook of the site: pages that stand elsewhere in the repository become pages of the site, with their links.

A link to a file that the site does not show becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
#: Where a file of the repository is shown on the site.
PAGES = {
    "examples/app_team/README.md": "examples/app_team.md",
    "examples/tester/README.md": "examples/tester.md",
    "examples/researcher/README.md": "examples/researcher.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def shown(path: str) -> str | None:
    """Where the site shows a file of the repository, or None."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/") and path.endswith(".md"):
        return path[len("docs/") :]
    return None


def relinked(text: str, source: str, page: str) -> str:
    """The text of the file ``source`` for the page ``page``, its links pointing to pages."""

    def link(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        there = shown(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        if there is None:
            return label
        return f"[{label}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor})"

    parts = _CODE.split(text)
    return "".join(part if index % 2 else _LINK.sub(link, part) for index, part in enumerate(parts))


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand elsewhere."""
    for source, page in PAGES.items():
        text = relinked((ROOT / source).read_text(encoding="utf-8"), source, page)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the guides to files outside of docs/."""
    if page.file.generated_by:
        return markdown
    source = f"docs/{page.file.src_uri}"
    return relinked(markdown, source, page.file.src_uri)
