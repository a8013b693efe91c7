"""Files that appear as a whole or not at all."""

import contextlib
import os
import tempfile
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
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name[:50]}.", suffix=".part", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(_mode(path))
        Path(beside).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise


def _mode(path: Path) -> int:
    """The permissions of the file, or of a new one: `mkstemp` makes files that only their owner reads."""
    with contextlib.suppress(OSError):
        return path.lstat().st_mode & 0o777 if not path.is_symlink() else 0o666 & ~_umask()
    return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
