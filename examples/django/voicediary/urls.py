"""URLs of the project."""

from django.urls import include, path

urlpatterns = [path("api/diary/", include("diary.urls"))]
