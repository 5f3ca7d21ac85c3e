"""Is the receiver notified of each image?"""

from __future__ import annotations

from scripts.monitoring.panels import Panel, Query, Row

NOTIFICATIONS = Row(
    "Notifications: what is sent to other systems",
    (
        Panel(
            "Notifications sent",
            "Attempts per second, by result. failed: it is sent again. set_aside: the receiver refused it too often.",
            "suffix: /s",
            (Query("sum by (result) (rate(alphadrop_notifications_sent_total[$__rate_interval]))", "{{result}}"),),
            width=6,
            min=0,
            runbook="AlphadropNotificationsSetAside",
        ),
        Panel(
            "Notifications pending",
            "Still to be delivered. Grows while the receiver is unreachable.",
            "short",
            (Query("sum(alphadrop_notifications_pending)", "pending"),),
            width=6,
            min=0,
            no_value="no --notify",
            runbook="AlphadropNotificationsLate",
        ),
        Panel(
            "Oldest notification",
            "Time since the image of the oldest pending notification was finished.",
            "s",
            (Query("max(time() - alphadrop_notifications_oldest_pending_timestamp_seconds)", "waiting"),),
            width=6,
            min=0,
            thresholds=((None, "green"), (900, "red")),
            no_value="none",
            runbook="AlphadropNotificationsLate",
        ),
        Panel(
            "Notification delay",
            "Time from the end of an image until its notification was delivered.",
            "s",
            (
                Query(
                    "histogram_quantile(0.5, sum by (le) (rate(alphadrop_notification_delay_seconds_bucket[5m])))",
                    "median",
                ),
                Query(
                    "histogram_quantile(0.95, sum by (le) (rate(alphadrop_notification_delay_seconds_bucket[5m])))",
                    "95 %",
                ),
            ),
            width=6,
            min=0,
            runbook="AlphadropNotificationsLate",
        ),
    ),
)
