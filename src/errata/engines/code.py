"""A digest of source files, for engines whose own code determines what they answer."""

import functools
import hashlib
from pathlib import Path
from types import ModuleType


@functools.cache
def code_digest(*modules_or_paths: ModuleType | Path | str) -> str:
    """16 hexadecimal digits over the bytes of the files, in the order given; where they lie does not matter.

    Read once per process: what runs is the code that was imported, whatever happens to the file later. Raises
    ValueError for a module without a file, such as a built-in one.
    """
    files = hashlib.sha256()
    for item in modules_or_paths:
        path = getattr(item, "__file__", None) if isinstance(item, ModuleType) else item
        if path is None:
            raise ValueError(f"{item!r} has no source file")
        files.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return files.hexdigest()[:16]
