"""Websocket routes."""

from django.urls import path

from nfvportal.inventory.consumers import AgentConsumer
from nfvportal.live.consumers import LiveConsumer

websocket_urlpatterns = [
    path("ws/live/", LiveConsumer.as_asgi()),
    path("ws/agent/", AgentConsumer.as_asgi()),
]
