"""The JSON report of a campaign."""

from __future__ import annotations

from typing import Any

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.state import CampaignState
from fuzz_decode.cases.serialization import case_to_json
from fuzz_decode.corpus.ledger import CRASH, FAIL


def summary_data(campaign: Campaign, seconds: float) -> dict[str, Any]:
    """The contents of --json."""
    settings, state = campaign.settings, campaign.state
    findings = [
        {
            "signature": bug.signature,
            "stage": bug.entry.stage,
            "symptom": bug.entry.finding.get("symptom", ""),
            "oracle": bug.entry.finding.get("oracle", ""),
            "first_case_index": bug.first_case_index,
            "count": bug.count,
            "cases": bug.cases,
            "fault": bug.entry.fault,
            "diagnosis": bug.entry.diagnosis,
            "case_file": str(bug.path) if bug.is_saved else None,
            "case": case_to_json(bug.entry.case),
            **({"before": [case_to_json(case) for case in bug.entry.before]} if bug.entry.before else {}),
        }
        for bug in state.bugs
    ]
    return {
        "target": settings.target,
        "seed": settings.seed,
        "device": settings.device,
        "engine": settings.worker_config.engine.engine if settings.device == "cpu" else None,
        **({"engine_reason": state.engine_reason} if state.engine_reason else {}),
        "versions": state.versions,
        "cases": state.done,
        "rejected": state.rejected.total(),
        "seconds": round(seconds, 3),
        "cases_per_second": round(state.done / max(seconds, 1e-9), 3),
        "findings": findings,
        "unexplained": state.unexplained,
        "coverage": sorted([*cell, count] for cell, count in state.coverage.cells.items()),
        "kernels": {**state.coverage.spread, "cases": dict(state.coverage.kernels.most_common())},
        "known": _counted(state, FAIL),
        "quarantined": _counted(state, CRASH),
        "unexpected_passes": [
            {"signature": known.signature, "issue": known.issue, "case_file": str(path)}
            for known, path in state.unexpected_passes.items()
        ],
    }


def _counted(state: CampaignState, expect: str) -> list[dict[str, Any]]:
    """The entries of the ledger that expect this, with the number of cases that each covers."""
    counts = {known: count for known, count in state.known.items() if known.expect == expect}
    return [{"signature": known.signature, "issue": known.issue, "count": count} for known, count in counts.items()]
