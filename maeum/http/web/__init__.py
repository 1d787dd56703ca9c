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

_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src blob:"
)
# Swagger UI sets style attributes and draws its icons from data URLs.
_DOCS_POLICY = (
    f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def page() -> Response:
    """Serve the page."""
    return _answer("index.html", _PAGE_POLICY)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs() -> Response:
    """Serve Swagger UI over `/docs.json`; its files come with BentoML, whose own page would load a tracker."""
    return _answer("docs.html", _DOCS_POLICY)


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def page_file(name: str) -> Response:
    """Serve a script, the style or the icon of the page."""
    if name not in _PARTS:
        raise NotFound("there is no such route")
    return _answer(name, _NOTHING_ELSE)


def _answer(name: str, policy: str) -> Response:
    media_type = _MEDIA_TYPES[name.split(".")[-1]]
    return Response(
        _FILES[name],
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
