"""The docstring of a script, with the failure at its top, and the name of its test."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from fuzz_decode._version import __version__
from fuzz_decode.cases.case import DEFAULTS, Case, flatten
from fuzz_decode.cases.simplicity import SIZE_FIELDS, features_of
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.outcome import Symptom
from fuzz_decode.report.facts import changes, headline, message, with_the_default
from fuzz_decode.report.terminal.finding import clean, worst_element
from fuzz_decode.shrink.needed import size_in_words

DOCSTRING_WIDTH = 128
MAX_TEXT = 600  # characters of a text from a file
MAX_NAME = 100  # characters of the name of a test
AXES = ("seq", "column", "block", "slot", "head", "dim")

CLAIMS = {
    Symptom.WRONG_VALUE: "{tensor}_is_right",
    Symptom.UNWRITTEN: "all_of_{tensor}_is_written",
    Symptom.STRAY_WRITE: "nothing_is_written_beside_{tensor}",
    Symptom.INPUT_MODIFIED: "{tensor}_is_left_as_it_was",
    Symptom.NONDETERMINISTIC: "two_runs_give_the_same_{tensor}",
    Symptom.ORDER_DEPENDENT: "two_runs_give_the_same_{tensor}",
    Symptom.LAYOUT_DEPENDENT: "{tensor}_does_not_depend_on_the_layout",
    Symptom.WRONG_SHAPE: "{tensor}_has_its_shape",
    Symptom.WRONG_DTYPE: "{tensor}_has_its_dtype",
    Symptom.WRONG_DEVICE: "{tensor}_is_on_the_device_of_q",
}
DEATHS = {Symptom.CRASH: "killed its process", Symptom.TIMEOUT: "did not return"}
SEEN_BY_ENGINE = (Symptom.OUT_OF_BOUNDS, Symptom.UNDEFINED_VALUE, Symptom.ORDER_DEPENDENT)


def docstring(entry: Entry, target: str, use: list[str]) -> list[str]:
    """The script's docstring: the failure, the features of the case, the usage (`use`), where it was found."""
    paragraphs = [
        [headline(entry) or entry.signature],
        [*_failure(entry), *([] if target == entry.target else [f"This runs {target}."])],
        list(_features(entry)),
        [*use, _found(entry)],
    ]
    lines = "\n\n".join("\n".join(map(_safe, paragraph)) for paragraph in paragraphs if paragraph).splitlines()
    return [f'"""{lines[0]}', *lines[1:], '"""']


def claim(entry: Entry) -> str:
    """The name of the regression test, as a claim: `test_out_is_right_with_k_interleaved_and_first_block_1`."""
    symptom, tensor = entry.signature.symptom, _slug(entry.signature.tensor)[:20] or "out"
    claimed = CLAIMS[symptom].format(tensor=tensor) if symptom in CLAIMS else "decode_returns"
    sizes = {name: value for name, value in flatten(entry.case) if name in SIZE_FIELDS and value != DEFAULTS[name]}
    parts = [_slug(f"{name.removeprefix('table.')}_{value}") for name, value in {**sizes, **features_of(entry.case)}.items()]
    name = "_with_".join([f"test_{claimed}", *(["_and_".join(parts)] if parts else [])])
    return name[:MAX_NAME].rstrip("_")


def _failure(entry: Entry) -> Iterator[str]:
    """The signature, the message if the diagnosis stands above it, and the worst element."""
    more = f": {message(entry)}" if entry.diagnosis and message(entry) else ""
    yield f"{entry.signature} of {entry.target}{more}"
    yield from filter(None, (worst_element(entry).plain, entry.note))
    if entry.signature.symptom in DEATHS:
        yield f"It {DEATHS[entry.signature.symptom]}: this script may do the same."
    if entry.signature.symptom in SEEN_BY_ENGINE:
        yield "The native engine of fuzz-decode noticed it: this script compares results, which may be right, and may crash."


def _features(entry: Entry) -> Iterator[str]:
    """The features of the case that are not the default: a line for each layout with its strides and each required one; calls."""
    features, others = features_of(entry.case), []
    for name, value in features.items():
        required = f"; {with_the_default(entry.needed[name])}" if name in entry.needed else ""
        detail = _strides(entry.case, name) + required
        if detail:
            yield f"{name} = {value}{detail}"
        else:
            others.append(f"{name} = {value}")
    if others:
        yield "; ".join(others)
    sizes = {name: value for name, value in flatten(entry.case) if name in entry.needed and name not in features}
    for name, value in sizes.items():
        yield f"{name} = {size_in_words(value)}; {with_the_default(entry.needed[name])}"
    for number, case in enumerate(entry.before, 1):
        yield f"call {number} comes before it: {changes(case, entry.case)}"


def _strides(case: Case, name: str) -> str:
    """The strides of a layout, if `name` is one."""
    if name not in case.layouts():
        return ""
    strides = {axis: stride for axis, stride in case.layouts()[name].strides.items() if axis in AXES}
    shown = sorted(strides, key=AXES.index)
    return f": strides {tuple(strides[axis] for axis in shown)} of {', '.join(shown)}"


def _found(entry: Entry) -> str:
    versions = "".join(f", {name} {version}" for name, version in entry.versions.items())
    return f"Found on {entry.device}{versions}; case {entry.digest}, exported by fuzz-decode {__version__}."


def _safe(text: str) -> str:
    """Untrusted text that cannot end the docstring, in lines of its width."""
    short = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
    lines = [line for part in clean(short).plain.splitlines() for line in textwrap.wrap(part, DOCSTRING_WIDTH)]
    return "\n".join(lines).replace("\\", "\\\\").replace('"', "'")


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")
