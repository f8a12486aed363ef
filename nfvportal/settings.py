"""Settings, read from the environment.

What the environment leaves out is taken from the running instance of this checkout (``instance.json`` and
``secrets.json``, written by ``manage.py up``), so that every ``manage.py`` command finds the servers that are up.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured

from nfvportal import __version__
from nfvportal.supervise.paths import Paths

# Lets admin classes name their model, as in ModelAdmin[Device]; Django's own are generic in their stubs only.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
PATHS = Paths.from_env(os.environ, BASE_DIR)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


_instance = _read_json(PATHS.run / "instance.json")
_secrets = _read_json(PATHS.state / "secrets.json")


def _setting(name: str, default: str = "") -> str:
    """Return a setting: the environment first, then the running instance, then its secrets, then the default."""
    key = name.lower()
    return os.environ.get(name) or str(_instance.get(key) or _secrets.get(key) or default)


def _flag(name: str, default: bool) -> bool:
    return _setting(name, "1" if default else "0").lower() in {"1", "true", "yes", "on"}


def _database(url: str) -> dict[str, Any]:
    """Return Django's database settings for ``postgresql://user:password@host:port/name?host=/socket/dir``."""
    parts = urlsplit(url)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must start with postgresql://")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "nfvportal",
        "USER": unquote(parts.username or query.pop("user", "")),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": str(parts.port or query.pop("port", "")),
        # Threads of the web process keep their connection; health checks survive a restarted server.
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5, **query},
    }


PROFILE = os.environ.get("NFV_PROFILE", "development")
if PROFILE not in {"development", "test", "production"}:
    raise ImproperlyConfigured("NFV_PROFILE must be development, test or production")
PRODUCTION = PROFILE == "production"
DEBUG = _flag("DEBUG", default=False)

SECRET_KEY = _setting("SECRET_KEY")
FIELD_KEYS = [key for key in _setting("FIELD_KEYS").split(",") if key]
if PRODUCTION and not (SECRET_KEY and FIELD_KEYS):
    raise ImproperlyConfigured("production needs SECRET_KEY and FIELD_KEYS in the environment")
if not SECRET_KEY:
    # Commands that need no secret (up, lab, bench) run before the first start has written one.
    SECRET_KEY = "development-only-" + "0" * 50
if not FIELD_KEYS:
    FIELD_KEYS = ["MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="]

PORT = int(_setting("PORT", "8000"))
ALLOWED_HOSTS = _setting("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],nfvportal").split(",")
PORTAL_ORIGINS = [origin for origin in _setting("PORTAL_ORIGINS").split(",") if origin]
CSRF_TRUSTED_ORIGINS = PORTAL_ORIGINS
LAB_ENABLED = _flag("LAB_ENABLED", default=not PRODUCTION)
LAB_TOPOLOGY = _setting("LAB_TOPOLOGY", "branch+datacenter")
LAB_SOCKET = Path(_setting("LAB_SOCKET", str(PATHS.run / "lab.sock")))
AGENTS_DIR = PATHS.state / "agents"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "nfvportal.supervise",
    "nfvportal.accounts",
    "nfvportal.audit",
    "nfvportal.events",
    "nfvportal.live",
    "nfvportal.jobs",
    "nfvportal.health",
    "nfvportal.inventory",
    "nfvportal.lab",
    "nfvportal.testbed",
    "nfvportal.overview",
    "nfvportal.bench",
    "apps.chains",
    "apps.mptcp",
    "apps.cluster",
    "apps.wan",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "nfvportal.health.middleware.MetricsMiddleware",
    "nfvportal.accounts.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# One policy for every page: no inline script, nothing from elsewhere.
CONTENT_SECURITY_POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "form-action": "'self'",
}

ROOT_URLCONF = "nfvportal.urls"
WSGI_APPLICATION = None
ASGI_APPLICATION = "nfvportal.asgi.application"
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
                "nfvportal.accounts.context.portal",
            ],
        },
    },
]

DATABASE_URL = _setting("DATABASE_URL", f"postgresql://nfvportal@/nfvportal?host={PATHS.run}")
VALKEY_URL = _setting("VALKEY_URL", f"unix://{PATHS.run}/valkey.sock")
DATABASES = {"default": _database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [VALKEY_URL], "prefix": "nfvportal"},
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": VALKEY_URL}}

CELERY_BROKER_URL = VALKEY_URL.replace("unix://", "redis+socket://", 1)

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = PATHS.state / "static"
STATICFILES_DIRS = [BASE_DIR / "static", ("vendor", BASE_DIR / "node_modules")]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Development serves straight from the source folders; production from STATIC_ROOT after collectstatic.
WHITENOISE_USE_FINDERS = not PRODUCTION
# Otherwise each client of a test would look through all files first: 90 ms for each of a thousand.
WHITENOISE_AUTOREFRESH = DEBUG or PROFILE == "test"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "nfvportal.rest.authentication.BearerAuthentication",
        "nfvportal.rest.authentication.StrictSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["nfvportal.rest.permissions.ViewerReadsOperatorWrites"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "nfvportal.rest.pagination.KeysetPagination",
    "EXCEPTION_HANDLER": "nfvportal.rest.problems.problem_handler",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["nfvportal.rest.parsers.BoundedJSONParser"],
    "PAGE_SIZE": 50,
    # ``format`` is a parameter of exports, not another way to say Accept.
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "nfvportal",
    "DESCRIPTION": "Automate the network: inventory, WAN links, failovers, jobs and the lab.",
    "VERSION": __version__,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    # Several things have a ``state``: what each enumeration of them is called in generated clients.
    "ENUM_NAME_OVERRIDES": {
        "JobStateEnum": "nfvportal.jobs.models.JobState.values",
        "TokenStateEnum": "nfvportal.accounts.selectors.TOKEN_STATES",
        "WanLinkStateEnum": "apps.wan.events.LINK_STATES",
        "ChainStatusEnum": "apps.chains.events.CHAIN_STATUSES",
        "PlanKindEnum": "apps.chains.events.PLAN_KINDS",
        "PlacementKindEnum": "apps.chains.events.PLACEMENT_KINDS",
        "ChainAlarmKindEnum": "apps.chains.models.AlarmKind.values",
        "DeploymentStatusEnum": "apps.chains.models.DeploymentStatus.values",
        "ConnectionStateEnum": "apps.mptcp.models.ConnectionState.values",
        "CaptureStateEnum": "apps.mptcp.models.CaptureState.values",
        "SubflowStateEnum": "apps.mptcp.models.SUBFLOW_STATES",
        "EvidenceKindEnum": "apps.mptcp.models.EVIDENCE_KINDS",
        "MptcpAlarmKindEnum": "apps.mptcp.models.ALARM_KINDS",
        "ChangeKindEnum": "apps.mptcp.models.CHANGE_KINDS",
        "PacketFieldEnum": "apps.chains.events.PACKET_FIELDS",
    },
}

MAX_UPLOAD_BYTES = 10 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_UPLOAD_BYTES
# Captures go straight to disk, see apps/mptcp/upload.py.
MAX_CAPTURE_BYTES = int(_setting("MAX_CAPTURE_BYTES", str(2 * 1024**3)))

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
# Two portals on one host (a test run beside a running one) must not log each other out.
SESSION_COOKIE_NAME = f"nfvportal_session_{PORT}"
CSRF_COOKIE_NAME = f"nfvportal_csrf_{PORT}"
if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": _setting("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        # A line per task would bury everything else: telemetry alone is tens of tasks a second.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
