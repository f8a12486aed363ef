"""The live stream: from ``publish`` in any process to every subscribed browser."""
