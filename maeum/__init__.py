"""maeum: Korean voice diaries in, transcript and emotions out.

`run_pipeline_on_uploaded_file` is the whole product as one Python call; the HTTP service, the command line and
this call share the one flow in `maeum.pipeline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maeum.local import run_pipeline_on_uploaded_file

__version__ = "0.1.0"
__all__ = ["__version__", "run_pipeline_on_uploaded_file"]


def __getattr__(name: str) -> Any:
    """Load the Python call on first use, so that `import maeum` loads no model library."""
    if name == "run_pipeline_on_uploaded_file":
        from maeum.local import run_pipeline_on_uploaded_file

        return run_pipeline_on_uploaded_file
    raise AttributeError(f"module 'maeum' has no attribute {name!r}")
