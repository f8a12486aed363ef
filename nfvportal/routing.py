"""Websocket routes."""

from django.urls import path

from nfvportal.inventory.consumers import AgentConsumer
from nfvportal.live.consumers import LiveConsumer

websocket_urlpatterns = [
    path("ws/live/", LiveConsumer.as_asgi()),  # type: ignore[arg-type]  # for URLRouter, which calls them as ASGI does
    path("ws/agent/", AgentConsumer.as_asgi()),  # type: ignore[arg-type]  # as above
]
