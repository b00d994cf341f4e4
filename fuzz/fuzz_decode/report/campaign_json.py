"""The JSON report of a campaign."""

from __future__ import annotations

from typing import Any

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.cases.serialization import case_to_json
from fuzz_decode.corpus.ledger import CRASH, FAIL


def summary_data(campaign: Campaign, seconds: float) -> dict[str, Any]:
    """The contents of --json."""
    findings = [
        {
            "signature": signature,
            "stage": bug.entry.stage,
            "symptom": bug.entry.finding.get("symptom", ""),
            "oracle": bug.entry.finding.get("oracle", ""),
            "first_case_index": bug.first_case_index,
            "count": bug.count,
            "diagnosis": bug.entry.diagnosis,
            "case_file": str(bug.path),
            "case": case_to_json(bug.entry.case),
            **({"before": [case_to_json(case) for case in bug.entry.before]} if bug.entry.before else {}),
        }
        for signature, bug in campaign.bugs.items()
    ]
    return {
        "target": campaign.plan.target,
        "seed": campaign.seed,
        "device": campaign.plan.device,
        "versions": campaign.versions,
        "cases": campaign.done,
        "rejected": campaign.rejected.total(),
        "seconds": round(seconds, 3),
        "cases_per_second": round(campaign.done / max(seconds, 1e-9), 3),
        "findings": findings,
        "coverage": sorted([*cell, count] for cell, count in campaign.coverage.cells.items()),
        "kernels": {**campaign.coverage.spread, "cases": dict(campaign.coverage.kernels.most_common())},
        "known": _counted(campaign, FAIL),
        "quarantined": _counted(campaign, CRASH),
        "unexpected_passes": [
            {"signature": known.signature, "issue": known.issue, "case_file": str(path)}
            for known, path in campaign.unexpected_passes.items()
        ],
    }


def _counted(campaign: Campaign, expect: str) -> list[dict[str, Any]]:
    """Cases of the ledger's entries."""
    counts = {known: count for known, count in campaign.known.items() if known.expect == expect}
    return [{"signature": known.signature, "issue": known.issue, "count": count} for known, count in counts.items()]
