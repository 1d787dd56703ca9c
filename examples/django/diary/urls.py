"""URLs below /api/diary/."""

from django.urls import path

from diary.views import analyze

urlpatterns = [path("analyze", analyze, name="analyze")]
