"""TABLES: what happens when something happened. Every reaction across packages and apps is on this page."""

# Event type -> names of the Celery tasks (queue control) that react; each gets ``event_id``.
REACTIONS: dict[str, tuple[str, ...]] = {
    "wan.link_failed": ("wan.record_failover", "wan.replan"),
    "wan.link_restored": ("wan.record_restore", "wan.replan"),
    "wan.gateway.state": ("wan.reconcile_state",),
    "chains.undeclared_write": ("chains.record_undeclared_write",),
    "chains.server.state": ("chains.reconcile_state",),
    "chains.classifier.state": ("chains.reconcile_state",),
    "inventory.device_online": ("wan.refresh_agents",),
    "inventory.device_offline": ("wan.refresh_agents",),
    "lab.fault_started": ("wan.refresh_faults",),
    "lab.fault_cleared": ("wan.refresh_faults",),
}

# Agent role -> name of the Celery task (queue telemetry) that takes its samples: ``device``, ``columns``.
SAMPLES: dict[str, str] = {
    "wan.gateway": "wan.ingest_gateway_samples",
    "wan.host": "wan.ingest_host_samples",
    "chains.server": "chains.ingest_server_samples",
    "chains.classifier": "chains.ingest_classifier_samples",
    "lab.traffic": "wan.ingest_traffic_samples",
    "mptcp.sensor": "mptcp.ingest_samples",
    "mptcp.collector": "mptcp.ingest_samples",
}
