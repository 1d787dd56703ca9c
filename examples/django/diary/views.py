"""A spoken diary entry in, its summary and emotions out."""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from maeum import run_pipeline_on_uploaded_file
from maeum.errors import MaeumError


# Apps call this without a browser session: there is no cookie that another site's form could ride on, and no
# token to check. A view that trusts a login cookie must not be exempt.
@csrf_exempt
@require_POST
def analyze(request: HttpRequest) -> JsonResponse:
    """Answer `{"summary": …, "emotion_analysis": [six probabilities]}`, or `{"error": …}`."""
    upload = request.FILES.get("file")
    if upload is None:
        return _answer({"error": "send the audio as multipart/form-data in the field 'file'"}, 400)
    try:
        result = run_pipeline_on_uploaded_file(
            upload, gender=request.POST.get("gender", "MALE"), lang=request.POST.get("lang", "ko")
        )
    except MaeumError as error:
        return _answer({"error": error.message}, error.status)
    return _answer(result)


def _answer(body: dict[str, Any], status: int = 200) -> JsonResponse:
    return JsonResponse(
        body,
        status=status,
        json_dumps_params={"ensure_ascii": False},
        content_type="application/json; charset=utf-8",
    )
