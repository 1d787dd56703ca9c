"""The page at `/`, where people try maeum in a browser, and the API's description at `/docs`.

Nothing is loaded from anywhere else: the pages work offline, and their content security policies say so.
"""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from maeum.errors import NotFound

_MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES = {
    path.name: path.read_bytes() for path in files(__name__).iterdir() if path.name.split(".")[-1] in _MEDIA_TYPES
}

_PARTS = frozenset(name for name in _FILES if not name.endswith(".html"))
PATHS = frozenset({"/", "/docs", *(f"/page/{name}" for name in _PARTS)})
"""Every path that the router serves."""
_LONGEST = b'data-longest-s="600"'

_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src blob:"
)
# Swagger UI sets style attributes and draws its icons from data URLs.
_DOCS_POLICY = (
    f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)


def build_router(longest_s: float) -> APIRouter:
    """Routes of the page, its parts and the docs.

    Args:
        longest_s: how long a recording the service takes, in seconds.
    """
    router = APIRouter(include_in_schema=False)
    html = _FILES["index.html"].replace(_LONGEST, b'data-longest-s="%g"' % longest_s)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page() -> Response:
        """Serve the page."""
        return _answer("index.html", _PAGE_POLICY, html)

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def docs() -> Response:
        """Serve Swagger UI over `/docs.json`; its files come with BentoML, whose own page would load a tracker."""
        return _answer("docs.html", _DOCS_POLICY, _FILES["docs.html"])

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def page_file(name: str) -> Response:
        """Serve a script, the style or the icon of the page."""
        if name not in _PARTS:
            raise NotFound("there is no such route")
        return _answer(name, _NOTHING_ELSE, _FILES[name])

    return router


def _answer(name: str, policy: str, content: bytes) -> Response:
    media_type = _MEDIA_TYPES[name.split(".")[-1]]
    return Response(
        content,
        HTTPStatus.OK,
        {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": policy,
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
        media_type=f"{media_type}; charset=utf-8",
    )
