"""A worker's figures: telemetry, memory trends, Prometheus."""
