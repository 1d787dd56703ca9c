"""Settings of the example: no database, no sessions, one view."""

import os

from django.core.management.utils import get_random_secret_key

# Nothing here outlives the process, so a fresh key does; name one where several processes must share it.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

INSTALLED_APPS = ["diary"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "voicediary.urls"
WSGI_APPLICATION = "voicediary.wsgi.application"

LANGUAGE_CODE = "ko"
TIME_ZONE = "Asia/Seoul"
