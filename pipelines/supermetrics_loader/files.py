"""Files that appear as a whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def write_file_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file beside its place and renames it, so that an earlier file stays whole until then.

    A symbolic link at the path is replaced; its target is not touched. An existing file keeps its permissions.

    Args:
        path: The file; its folder exists.
        content: Bytes, or text for UTF-8.

    Raises:
        OSError: The file cannot be written, for example on a full disk. The path holds what it held before.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            if path.is_file() and not path.is_symlink():
                beside.chmod(path.stat().st_mode & 0o777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
