"""What a campaign does with a failing case: save it when it arrives, count it when it is judged, and have a
new one minimized."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_decode.campaign.causes import CauseFinder
from fuzz_decode.campaign.events import Event, Found
from fuzz_decode.campaign.make_entry import raw_entry
from fuzz_decode.campaign.minimizer import FindingMinimizer
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import Bug, CampaignState
from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.corpus import store
from fuzz_decode.corpus.ledger import Ledger
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.workers.in_process import InProcessBackend


@dataclass(slots=True)
class FindingRecorder:
    """Puts the failing cases of one campaign into its state and its corpus."""

    settings: CampaignSettings
    state: CampaignState
    ledger: Ledger
    deadline: float
    """end of the campaign, by the monotonic clock"""
    in_process: InProcessBackend | None = None
    """runs cases instead of a child process"""
    causes: CauseFinder = field(init=False)
    minimizer: FindingMinimizer = field(init=False)
    _saved: dict[str, tuple[int, Path]] = field(default_factory=dict)
    """signature to number and file of a case that failed, was saved and is not judged yet"""

    def __post_init__(self) -> None:
        self.causes = CauseFinder(self.settings, self.state, self.in_process)
        given = self.settings, self.state, self.ledger, self.deadline, self.causes, self.in_process
        self.minimizer = FindingMinimizer(*given)

    def go_on_with(self, settings: CampaignSettings) -> None:
        """Start workers as these settings say from now on."""
        self.settings = self.causes.settings = self.minimizer.settings = settings

    def must_wait(self, calls: CallSequence, outcome: Outcome) -> bool:
        """Whether a case can only be judged once the finding that is being minimized is: it may have the same cause."""
        return self.minimizer.busy and outcome.status == Status.FAILED and not self.ledger.entry(outcome.signature, calls)

    def save(self, number: int, calls: CallSequence, outcome: Outcome) -> None:
        """Put a failure that may be new on disk as it arrives: the next case may take the machine down. Not one that has the
        signature of a bug of which it was not asked yet: that is on disk, and the likely cause.

        Raises NotSaved; the case is counted then, since the campaign ends.
        """
        signature = outcome.signature
        is_known = outcome.explained_by is not None or self.ledger.entry(signature, calls) is not None
        later = (bug for bug in self.state.bugs if bug.first_case_index > outcome.compared_with)
        is_likely = is_known or any(bug.has(signature) for bug in later)
        if signature not in self._saved and not is_likely and not self.causes.stands_for(calls, outcome):
            try:
                self._saved[signature] = number, self._save_raw(number, calls, outcome).path
            except store.NotSaved:
                self.state.done += 1
                raise

    def judge(self, number: int, calls: CallSequence, outcome: Outcome) -> Iterator[Event]:
        """Count the case; if it failed in a way that is new, begin to minimize it: `minimizer` has the result."""
        if known := self.ledger.entry(outcome.signature, calls):
            self.state.known[known] += 1
        elif outcome.status == Status.FAILED:
            if bug := self.causes.cause_of(calls, outcome):
                self._count(bug, number, outcome)
            else:
                yield from self._record(number, calls, outcome)

    def discard_unjudged(self) -> None:
        """Remove failures of cases beyond the one that ended the campaign: with fewer jobs they would not have been run."""
        for _, path in self._saved.values():
            store.remove(path)

    def _record(self, number: int, calls: CallSequence, outcome: Outcome) -> Iterator[Event]:
        bug = self._save_raw(number, calls, outcome)
        _, early = self._saved.pop(outcome.signature, (number, bug.path))
        if early != bug.path:  # a later case arrived first, and is saved again when it is judged, if it is new
            store.remove(early)
        self.state.bugs.append(bug)
        yield Found(bug.entry, bug.path, number)
        self.minimizer.begin(bug, outcome)
        is_last = len(self.state.bugs) == self.settings.stop_after
        if self.in_process or is_last or bug.is_timeout:  # which may be no finding
            yield from self.minimizer.take()

    def _count(self, bug: Bug, number: int, outcome: Outcome) -> None:
        bug.add(number)
        bug.also |= {outcome.signature} - {bug.signature}
        if path := self._forget_saved(number, outcome):
            store.remove(path)

    def _forget_saved(self, number: int, outcome: Outcome) -> Path | None:
        """The file of a case that is judged now, if it was saved when it arrived."""
        if self._saved.get(outcome.signature, (-1,))[0] != number:
            return None
        return self._saved.pop(outcome.signature)[1]

    def _save_raw(self, number: int, calls: CallSequence, outcome: Outcome) -> Bug:
        """The failure as it was found, on disk. Raises NotSaved; the state has it nevertheless."""
        raw = raw_entry(self.settings.worker_config, calls, outcome, self.state.versions)
        try:
            return Bug(raw, store.save(self.settings.corpus, raw), number, cases=[number])
        except store.NotSaved:
            path = self.settings.corpus / raw.file_name
            self.state.bugs.append(Bug(raw, path, number, is_saved=False, cases=[number]))
            raise

    def close(self) -> None:
        self.minimizer.close()
        self.causes.close()
