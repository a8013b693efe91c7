"""The README as a package index shows it: there a relative link leads nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#|mailto:)(?P<path>[^)]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Sets `readme` from README.md, its links with the repository's address of `[tool.hatch.metadata.hooks.custom]`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the text to the project's metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        if repository := self.config["repository"].rstrip("/"):
            at = f"v{metadata['version']}"
            text = _LINK.sub(
                lambda link: (
                    f"{link['image']}[{link['text']}]"
                    f"({repository}/{'raw' if link['image'] else 'blob'}/{at}/{link['path']})"
                ),
                text,
            )
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
