"""Hooks of mkdocs.yml: pages of the repository outside docs/ take part in the site, under project/.

In the repository links lead from file to file, as a reader of the clone needs them; here they become those of the site.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

EXAMPLES = ("examples/README.md", "examples/feed_generator/README.md", "examples/ranker_redis/README.md")
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/LOG.md", "benchmarks/RESULTS.md", *EXAMPLES)
ELSEWHERE = {"README.md": "docs/index.md"}
"""What the site says in another place."""


def on_files(files: Files, config: Any) -> Files:
    """The site's files, and those of `OUTSIDE`."""
    root = os.path.dirname(config.config_file_path)
    for name in OUTSIDE:
        files.append(File.generated(config, f"project/{name}", abs_src_path=os.path.join(root, name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page's text with links to where the site has their targets."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        folder = posixpath.dirname(here.removeprefix("project/") if here.startswith("project/") else f"docs/{here}")
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        target = ELSEWHERE.get(target, target)
        if target not in OUTSIDE and not target.startswith("docs/"):
            return link[0]
        place = f"project/{target}" if target in OUTSIDE else target.removeprefix("docs/")
        return f"]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{link[2] or ''})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", moved, markdown)
