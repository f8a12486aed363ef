"""Partitioned tables of samples; the first partitions are made at need."""

from django.db import migrations

FORWARD = """
CREATE TABLE wan_linksample (
    at timestamptz NOT NULL, wan_link_id bigint NOT NULL, device_id bigint NOT NULL,
    rtt_ms real, jitter_ms real, loss_ratio real, rx_bps double precision, tx_bps double precision, gap_ms_max real
) PARTITION BY RANGE (at);
CREATE INDEX wan_linksample_at ON wan_linksample USING brin (at);
CREATE TABLE wan_trafficbin (
    at timestamptz NOT NULL, device_id bigint NOT NULL, flow text NOT NULL, bytes integer NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX wan_trafficbin_at ON wan_trafficbin USING brin (at) WITH (pages_per_range = 16);
CREATE TABLE wan_linkminute (
    wan_link_id bigint NOT NULL, minute timestamptz NOT NULL,
    rtt_ms_avg real, rtt_ms_max real, loss_ratio_avg real, rx_bps_avg double precision, tx_bps_avg double precision,
    sample_count integer NOT NULL, PRIMARY KEY (wan_link_id, minute)
);
"""
BACKWARD = "DROP TABLE wan_linkminute; DROP TABLE wan_trafficbin; DROP TABLE wan_linksample;"


class Migration(migrations.Migration):
    dependencies = [("wan", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
