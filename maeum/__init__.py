"""maeum: Korean voice diaries in, transcript and emotions out.

`analyze` is the whole product as one Python call, and `run_pipeline_on_uploaded_file` the same with the original's two
keys; the HTTP service, the command line and these calls share the one flow in `maeum.pipeline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maeum.local import analyze, run_pipeline_on_uploaded_file

__version__ = "0.1.0"
__all__ = ["__version__", "analyze", "run_pipeline_on_uploaded_file"]


def __getattr__(name: str) -> Any:
    """Load the Python calls on first use, so that `import maeum` loads no model library."""
    if name in ("analyze", "run_pipeline_on_uploaded_file"):
        from maeum import local

        return getattr(local, name)
    raise AttributeError(f"module 'maeum' has no attribute {name!r}")
