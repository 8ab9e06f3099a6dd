"""Every setting, read from the environment; a bad value stops the start with its name.

`.env.example` lists all of them. Read settings inside functions, never at import.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import Env
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from console.data_dir import secret_key

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent

DAYBREAK_DATA_DIR = Path(env.str("DAYBREAK_DATA_DIR", str(BASE_DIR / "var"))).resolve()
DAYBREAK_SANDBOX = env.str("DAYBREAK_SANDBOX", "auto")
if DAYBREAK_SANDBOX not in {"auto", "bubblewrap", "files_only"}:
    raise ImproperlyConfigured("DAYBREAK_SANDBOX must be auto, bubblewrap or files_only.")
DAYBREAK_SANDBOX_NETWORK = env.str("DAYBREAK_SANDBOX_NETWORK", "off")
if DAYBREAK_SANDBOX_NETWORK not in {"off", "host"}:
    raise ImproperlyConfigured("DAYBREAK_SANDBOX_NETWORK must be off or host.")
DAYBREAK_LEASE_TTL_S = env.float("DAYBREAK_LEASE_TTL_S", 15.0)
DAYBREAK_SWEEP_INTERVAL_S = env.float("DAYBREAK_SWEEP_INTERVAL_S", 5.0)
DAYBREAK_DRAIN_S = env.float("DAYBREAK_DRAIN_S", 30.0)
DAYBREAK_HINTS = env.bool("DAYBREAK_HINTS", True)
DAYBREAK_MODEL_ATTEMPTS = env.int("DAYBREAK_MODEL_ATTEMPTS", 5)
DAYBREAK_RETRY_BASE_S = env.float("DAYBREAK_RETRY_BASE_S", 1.0)
DAYBREAK_SSE_PING_S = env.float("DAYBREAK_SSE_PING_S", 15.0)
DAYBREAK_UPLOAD_LIMIT_BYTES = env.int("DAYBREAK_UPLOAD_LIMIT_BYTES", 500 * 1024 * 1024)
DAYBREAK_BODY_LIMIT_BYTES = 32 * 1024 * 1024

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "") or secret_key(DAYBREAK_DATA_DIR)
if len(SECRET_KEY) < 32:
    raise ImproperlyConfigured("SECRET_KEY is too short: give at least 32 characters, or unset it.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]", "testserver"])
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts: a wildcard lets DNS re-binding in.")
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
HTTPS = env.bool("DAYBREAK_HTTPS", False)


def database_from(dsn: str) -> dict[str, object]:
    """A Django database entry from a psycopg URL or conninfo string."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # Not its text: that may hold the password.
        raise ImproperlyConfigured(
            "DATABASE_URL is not a PostgreSQL address such as postgresql://user:password@host/database."
        ) from None
    options = {k: v for k, v in parts.items() if k not in {"host", "port", "user", "password", "dbname"}}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.get("dbname") or "daybreak",
        "HOST": parts.get("host") or "",
        "PORT": str(parts.get("port") or ""),
        "USER": parts.get("user") or "",
        "PASSWORD": parts.get("password") or "",
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            **options,
            "pool": {
                "min_size": 1,
                "max_size": env.int("DAYBREAK_DB_POOL", 12),
                "timeout": env.float("DAYBREAK_DB_WAIT_S", 20.0),
            },
        },
    }


def conninfo(database: dict[str, object]) -> str:
    """The psycopg conninfo of a Django database entry (for LISTEN connections and the broker)."""
    parts = {
        "host": database["HOST"],
        "port": database["PORT"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "dbname": database["NAME"],
    }
    return make_conninfo("", **{k: v for k, v in parts.items() if v})  # type: ignore[arg-type]


DATABASE_DSN = env.str("DATABASE_URL", "") or env.str("DAYBREAK_EMBEDDED_DSN", "")
if not DATABASE_DSN:
    raise ImproperlyConfigured(
        "No database: run commands through manage.py, which starts the embedded PostgreSQL, or set DATABASE_URL."
    )
DATABASES = {"default": database_from(DATABASE_DSN)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "agents",
    "reviews",
    "console",
]
MIDDLEWARE = [
    "agents.api.http.ApiMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "console.security_headers.SecurityHeadersMiddleware",
    "console.static_files.StaticFilesMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "console.urls"
ASGI_APPLICATION = "console.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context.console",
            ],
        },
    }
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DAYBREAK_DATA_DIR / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LOGIN_URL = "console:sign-in"
LOGIN_REDIRECT_URL = "console:home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_COOKIE_AGE = 7 * 24 * 3600
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.bool("DAYBREAK_HSTS_SUBDOMAINS", False)
# Whether the whole domain is served by TLS is for whoever owns the domain to say.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = DAYBREAK_BODY_LIMIT_BYTES
FILE_UPLOAD_TEMP_DIR = None
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# A socket path does not fit into a broker URL, so pgmq gets a conninfo string of its own.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", "pgmq://localhost")
if CELERY_BROKER_URL.startswith("pgmq"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "conn_string": conninfo(DATABASES["default"]),
        "init_extension": False,
        "use_notify": True,
        "notify_throttle_interval_ms": 0,
        "wait_time_seconds": 0,
        "polling_interval": 1,
        "visibility_timeout": 15,
        "pool_size": 2,
    }
# Every broker connection of pgmq holds a pool of its own: the threads of a process share two of them.
CELERY_BROKER_POOL_LIMIT = 2
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 8
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "console.logs.LineFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "WARNING")},
    "loggers": {"django.request": {"level": "ERROR"}},
}
