"""ASGI entry: websockets by Channels, HTTP by Django's WSGI handler in a pool of threads.

The WSGI handler keeps one psycopg2 connection per thread; Django's own ASGI handler would open a new one for
every request.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nfvportal.settings")

from a2wsgi import WSGIMiddleware
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.wsgi import get_wsgi_application

_wsgi = get_wsgi_application()

from nfvportal.routing import websocket_urlpatterns  # noqa: E402  # after django.setup(): consumers import models

HTTP_THREADS = 10

application = ProtocolTypeRouter(
    {
        "http": WSGIMiddleware(_wsgi, workers=HTTP_THREADS),  # type: ignore[arg-type]  # iterable, untold by stubs
        "websocket": AuthMiddlewareStack(URLRouter(websocket_urlpatterns)),  # type: ignore[arg-type]  # path() makes them
    }
)
