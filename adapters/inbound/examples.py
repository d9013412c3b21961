"""What answers look like, for the OpenAPI document. A test reads each with the class it illustrates."""

from typing import Any, Final

Document = dict[str, Any]

JOB: Final[Document] = {
    "job_id": "e62f554f2fc958b123fc4cb0",
    "key": "nightly-2026-11-30",
    "state": "running",
    "reason": None,
    "model_id": "growth-60",
    "model_version": 3,
    "portfolios": 400,
    "finished": 120,
    "counts": {"pending": 272, "running": 8, "traded": 117, "no_trade": 2, "rejected": 1},
    "parallelism": 8,
    "dry_run": False,
    "deadline": "2026-12-01T03:00:00Z",
    "probe_at": None,
    "correlation_id": "desk-7:8f14e45f",
    "request_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "retries": 0,
    "healing": {},
    "created_at": "2026-11-30T21:00:00.125000Z",
    "started_at": "2026-11-30T21:00:00.410000Z",
    "finished_at": None,
    "deleted_at": None,
}
JOBS: Final[Document] = {"jobs": [JOB], "next_offset": 50}

_ITEM: Final[Document] = {
    "item_id": "e62f554f2fc958b123fc4cb0:PORTFOLIO-0001",
    "job_id": "e62f554f2fc958b123fc4cb0",
    "portfolio_id": "PORTFOLIO-0001",
    "seq": 0,
    "outcome": "traded",
    "reason": "rebalanced",
    "attempts": 1,
    "given_back": 0,
    "published": True,
    "changed_at": "2026-11-30T21:00:01.020000Z",
}
ITEMS: Final[Document] = {"items": [_ITEM], "next_cursor": "0"}

_ORDER: Final[Document] = {
    "side": "SELL",
    "security_id": "STOCK0000000000000000001",
    "quantity": 8,
    "price": "61.37",
    "notional": "490.96",
    "reason": "above_target",
}
_PROOF: Final[Document] = {
    "method": "closed_form",
    "objective": "160.91",
    "lower_bound": "160.91",
    "gap": "0.00",
    "solver": "trimtab",
    "bound_by": "exact",
}
_SUMS: Final[Document] = {
    "market_value": "11337.00",
    "cash_before": "5200.00",
    "cash_after": "5690.96",
    "drift_before": "5570.15",
    "drift_after": "160.91",
}
_POSITION: Final[Document] = {
    "security_id": "STOCK0000000000000000001",
    "price": "61.37",
    "original_quantity": "100",
    "adjusted_quantity": "92",
    "target": "0.50",
    "low_drift": "0.05",
    "high_drift": "0.05",
    "actual": "0.4980",
}
ITEM_DETAIL: Final[Document] = {
    **_ITEM,
    "history": [
        {
            "retry": 0,
            "number": 1,
            "owner": "host-1:4711:17",
            "started": "2026-11-30T21:00:00.990000Z",
            "ended": "2026-11-30T21:00:01.020000Z",
            "cause": "traded",
        }
    ],
    "result": {
        "schema": "trimtab.result.v1",
        "id": "e62f554f2fc958b123fc4cb0:PORTFOLIO-0001",
        **_SUMS,
        "positions": [_POSITION],
        "orders": [_ORDER],
        "proof": _PROOF,
    },
}
REPUBLISH: Final[Document] = {"order_sets": 119}

REBALANCE: Final[Document] = {
    "rebalance_id": "e62f554f2fc958b123fc4cb0",
    "model_id": "growth-60",
    "model_name": "Growth 60",
    "model_version": 3,
    "rebalance_date": "2026-11-30T21:00:04.300000Z",
    "state": "done",
    "portfolios": 1,
    "counts": {"traded": 1},
    "dry_run": False,
    "correlation_id": "desk-7:8f14e45f",
    "version": 1,
}
REBALANCES: Final[Document] = {"rebalances": [REBALANCE], "next_offset": None}
REBALANCE_PORTFOLIOS: Final[Document] = {
    "rebalance": REBALANCE,
    "portfolios": [
        {
            "portfolio_id": "PORTFOLIO-0001",
            "outcome": "traded",
            "reason": "rebalanced",
            **_SUMS,
            "orders": [_ORDER],
            "proof": _PROOF,
        }
    ],
    "next_cursor": None,
}
REBALANCE_POSITIONS: Final[Document] = {
    "rebalance_id": "e62f554f2fc958b123fc4cb0",
    "portfolio_id": "PORTFOLIO-0001",
    "outcome": "traded",
    "positions": [_POSITION],
}

MODEL: Final[Document] = {
    "model_id": "growth-60",
    "name": "Growth 60",
    "positions": [
        {
            "security_id": "STOCK0000000000000000001",
            "target": "0.25",
            "low_drift": "0.02",
            "high_drift": "0.02",
        }
    ],
    "portfolios": ["PORTFOLIO-0001", "PORTFOLIO-0002"],
    "policy": {
        "cash_floor": "0.02",
        "cash_floor_amount": "0",
        "raise_cash": "0",
        "run_type": "to_target",
        "bounds": "absolute",
        "on_infeasible": "report",
        "lot_size": 1,
        "lot_sizes": {},
        "min_trade": "100.00",
        "max_orders": None,
        "max_turnover": "0.15",
        "cost_rate": "0.001",
        "cost_per_order": "4.95",
        "no_buy": [],
        "no_sell": ["STOCK0000000000000000003"],
        "no_trade": [],
        "groups": [
            {"name": "Energy", "security_ids": ["STOCK0000000000000000001"], "min": "0", "max": "0.30"}
        ],
        "missing_price": "reject",
        "fractional_holding": "reject",
        "short_holding": "reject",
        "negative_cash": "reject",
    },
    "version": 3,
    "last_rebalance_date": "2026-11-30T21:00:04.300000Z",
}
MODELS: Final[Document] = {
    "models": [MODEL],
    "total": 1,
    "total_positions": 1,
    "total_portfolios": 2,
    "next_offset": None,
}

_NOTHING_DONE: Final[Document] = {
    "portfolio_id": "PORTFOLIO-0001",
    "scenario": "do_nothing",
    "outcome": "do_nothing",
    "reason": None,
    "market_value": "11337.00",
    "cash_before": "5200.00",
    "cash_after": "5200.00",
    "drift_before": "5570.15",
    "drift_after": "5570.15",
    "turnover": "0",
    "cost": "0",
    "orders": 0,
    "proof": None,
    "relaxed": [],
    "conflicts": [],
}
_DONE: Final[Document] = {
    **_NOTHING_DONE,
    "scenario": "policy",
    "outcome": "traded",
    "reason": "rebalanced",
    "cash_after": "5690.96",
    "drift_after": "160.91",
    "turnover": "490.96",
    "orders": 1,
    "proof": _PROOF,
}
WHAT_IF: Final[Document] = {
    "rows": [_NOTHING_DONE, _DONE],
    "frontier": {
        "portfolio_id": "PORTFOLIO-0001",
        "spent": "turnover",
        "drift_before": "5570.15",
        "market_value": "11337.00",
        "points": [
            {
                "max_turnover": None,
                "spent": "490.96",
                "drift": "160.91",
                "turnover": "490.96",
                "cost": "0",
                "orders": 1,
                "cash_after": "5690.96",
                "gap": "0.00",
            }
        ],
        "dominated": 0,
        "infeasible": 1,
        "unfinished": 0,
    },
}
_NEXT_RUN: Final[Document] = {
    "at": "2026-11-28T03:00:00Z",
    "local": "2026-11-27T22:00:00-05:00",
    "day": "2026-11-27",
    "business_date": "2026-11-27",
    "reason": None,
    "started": False,
}
SCHEDULE: Final[Document] = {
    "schedule_id": "nightly",
    "enabled": True,
    "cron": "0 22 * * *",
    "in_words": "At 22:00 every day",
    "time_zone": "America/New_York",
    "calendar": "XNYS",
    "on_closed_day": "skip",
    "catch_up_seconds": 43200.0,
    "model_id": "growth-60",
    "needing_rebalance": None,
    "parallelism": 8,
    "policy": {"cash_floor": "0.02"},
    "known_since": "2026-11-02T09:14:07.512000Z",
    "next_run": _NEXT_RUN,
    "last_run": {
        "at": "2026-11-26T03:00:00Z",
        "business_date": "2026-11-25",
        "started": True,
        "job_ids": ["e62f554f2fc958b123fc4cb0"],
    },
}
SCHEDULES: Final[Document] = {"schedules": [SCHEDULE]}
NEXT_RUNS: Final[Document] = {
    "schedule_id": "nightly",
    "enabled": True,
    "runs": [
        {
            "at": "2026-11-27T03:00:00Z",
            "local": "2026-11-26T22:00:00-05:00",
            "day": "2026-11-26",
            "business_date": None,
            "reason": "Thanksgiving Day",
            "started": False,
        },
        _NEXT_RUN,
    ],
}
SCHEDULE_RUN: Final[Document] = {
    "schedule_id": "nightly",
    "business_date": "2026-11-27",
    "key": "schedule:nightly:2026-11-27",
    "created": 1,
    "jobs": [
        {**JOB, "key": "schedule:nightly:2026-11-27", "correlation_id": "schedule:nightly:2026-11-27"},
    ],
}

LIVE: Final[Document] = {"status": "alive"}
READY: Final[Document] = {"status": "ready"}
HEALTH: Final[Document] = {
    "status": "degraded",
    "service": "trimtab",
    "version": "0.1.0",
    "timestamp": "2026-11-30T21:00:04.300000Z",
    "parts": [
        {
            "name": "workers",
            "status": "down",
            "needed": False,
            "error": "workers is unavailable: none answered within 2 s",
            "last_error": "workers is unavailable: none answered within 2 s",
            "last_error_at": "2026-11-30T21:00:04.300000Z",
        }
    ],
}
