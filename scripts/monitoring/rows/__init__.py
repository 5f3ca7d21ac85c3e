"""The rows of the dashboard, from top to bottom."""

from __future__ import annotations

from scripts.monitoring.rows.api import API
from scripts.monitoring.rows.devices import DEVICES, PROCESSES
from scripts.monitoring.rows.failures import FAILURES
from scripts.monitoring.rows.ingestion import INGESTION
from scripts.monitoring.rows.notifications import NOTIFICATIONS
from scripts.monitoring.rows.overview import OVERVIEW
from scripts.monitoring.rows.pipeline import BATCHES, PIPELINE

ROWS = (OVERVIEW, PIPELINE, BATCHES, DEVICES, FAILURES, INGESTION, API, NOTIFICATIONS, PROCESSES)

__all__ = ["OVERVIEW", "ROWS"]
