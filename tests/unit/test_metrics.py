"""Gauges as Prometheus reads them."""

from __future__ import annotations

from bridge.web.metrics import Gauge, render


def test_gauges_of_one_name_stand_together_and_the_unknown_is_left_out() -> None:
    text = render(
        [
            Gauge("devices", "how many", 2),
            Gauge("unknown", "nobody knows", None),
            Gauge("moment", "when", 1_795_345_154),
            Gauge("queue", "what waits", 0, {"what": "jobs"}),
            Gauge("queue", "what waits", 1.5, {"what": 'a "b"\n\\'}),
        ]
    )
    assert text.splitlines() == [
        "# HELP matrix_communities_devices how many",
        "# TYPE matrix_communities_devices gauge",
        "matrix_communities_devices 2",
        "# HELP matrix_communities_moment when",
        "# TYPE matrix_communities_moment gauge",
        "matrix_communities_moment 1795345154",
        "# HELP matrix_communities_queue what waits",
        "# TYPE matrix_communities_queue gauge",
        'matrix_communities_queue{what="jobs"} 0',
        'matrix_communities_queue{what="a \\"b\\"\\n\\\\"} 1.5',
    ]
