"""The optional arguments of the decode problem, a row each: the one list that everything else is derived from.

Drawing, call sequences, rounds, coverage, shrinking, the order of simplicity, JSON, ledger, descriptions and reports ask the
functions below each time, so that a row added to OPTIONS is all they need. A row is plain data, below Case: its mathematics is
in the reference and its error bound, its limits are in `validity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fuzz_decode.cases.domain import CACHE_DTYPES
from fuzz_decode.cases.layout import QUERY_AXES, Layout, dense


@dataclass(frozen=True, slots=True)
class OptionalArgument:
    """One option, or several that are used together (a float8 cache and its two scales)."""

    fields: tuple[str, ...]
    """Fields of a Case; the first one says whether the option is used."""
    unused: tuple[object, ...]
    """The fields' values where the option is not used: the defaults of a Case."""
    used: tuple[object, ...]
    """The fields' values in an example of its use."""
    parameters: Mapping[str, str]
    """Parameter of a target -> what it gets, in words; `{cache_dtypes}` and `{out}` stand for what the target declares. A
    parameter has the name of its field, unless it is a tensor of the Problem. Empty: every target takes the option."""
    without: str = ""
    """What a target without the parameters never gets."""
    label: str = ""
    """Its name in coverage tables; empty: not counted."""
    summary: str = ""
    """Its use in a case, in words; `{field}` stands for a value."""
    chance: int = 0
    """Percentage of drawn cases that use it; 0: `generate.draw_case` has a draw of its own for it."""
    values: tuple[object, ...] = ()
    """Values of the first field to draw from, the simplest first."""
    simpler: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """Field -> values that the shrinker tries in place of another one."""
    is_count: bool = False
    """Whether the shrinker tries smaller numbers, from 1 on."""
    plain: tuple[object, ...] = ()
    """Values of the fields after the first that change nothing where the option is used."""
    changes_answer: bool = True
    """False for `out`: where a target writes, which it may do without."""
    in_ledger: bool = True
    """Whether ledger conditions take its first field as used or not, or as a number; others are a size or a choice there."""
    always_in_json: bool = False
    """True for the options of the first schema. Later ones are left out where they are not used, so that digests stay."""

    @property
    def field(self) -> str:
        return self.fields[0]

    def is_used(self, case: object) -> bool:
        return bool(getattr(case, self.field) != self.unused[0])


# The order is that of draws, and of ledger conditions. Lists that were published in another order use `in_order`.
OPTIONS: tuple[OptionalArgument, ...] = (
    OptionalArgument(
        fields=("window",),
        unused=(None,),
        used=(16,),
        parameters={"window": "int, or None: only the last `window` tokens are visible"},
        without="sliding windows",
        label="window",
        summary="window {window}",
        is_count=True,
        always_in_json=True,
    ),
    OptionalArgument(
        fields=("softcap",),
        unused=(None,),
        used=(30.0,),
        parameters={"softcap": "float, or None: scores become softcap * tanh(score / softcap)"},
        without="logit softcaps",
        label="softcap",
        summary="softcap {softcap}",
        chance=20,
        values=(30.0, 1.0, 50.0),
        simpler={"softcap": (1.0, 30.0)},
        always_in_json=True,
    ),
    OptionalArgument(  # `None` is 1 / sqrt(head_dim); targets get a number either way, by position
        fields=("scale",),
        unused=(None,),
        used=(1.0,),
        parameters={},
        chance=15,
        values=(1.0, 0.3),
        always_in_json=True,
    ),
    OptionalArgument(
        fields=("alibi",),
        unused=(False,),
        used=(True,),
        parameters={
            "alibi_slopes": "[num_q_heads] float32, or None: slope * (key position - query position) is added to the scores"
        },
        without="ALiBi",
        label="ALiBi",
        summary="ALiBi",
        chance=15,
        values=(True,),
    ),
    OptionalArgument(
        fields=("sinks",),
        unused=(False,),
        used=(True,),
        parameters={"sinks": "[num_q_heads] float32, or None: a logit beside the scores that has no value"},
        without="attention sinks",
        label="sinks",
        summary="sinks",
        chance=20,
        values=(True,),
    ),
    OptionalArgument(
        fields=("cache_dtype", "k_scale", "v_scale"),
        unused=(None, None, None),
        used=(CACHE_DTYPES[0], 0.5, 0.5),
        parameters={
            "k_scale": "float, or None: caches are {cache_dtypes}, K is what they hold * k_scale",
            "v_scale": "float, or None: the same for V",
        },
        without="float8 caches",
        label="float8",
        summary="{cache_dtype} caches",
        simpler={"cache_dtype": (CACHE_DTYPES[0],), "k_scale": (0.5,), "v_scale": (0.5,)},
        plain=(1.0, 1.0),
        in_ledger=False,
    ),
    OptionalArgument(
        fields=("q_len",),
        unused=(1,),
        used=(2,),
        parameters={"q_len": "int: query tokens of each sequence, its last ones; a token sees those up to itself"},
        without="several query tokens of a sequence",
        label="q_len > 1",
        summary="q_len {q_len}",
        is_count=True,
        in_ledger=False,
    ),
    OptionalArgument(
        fields=("out",),
        unused=(dense(QUERY_AXES),),
        used=(Layout(QUERY_AXES, (8, 16, 0)),),
        parameters={"out": "{out}; write here"},
        without="a tensor to write into",
        summary="out with gaps",
        changes_answer=False,
        in_ledger=False,
        always_in_json=True,
    ),
)


def all_options() -> tuple[OptionalArgument, ...]:
    """Every option, `out` included."""
    return OPTIONS


def answer_options() -> tuple[OptionalArgument, ...]:
    """The options that change the answer: all but `out`."""
    return tuple(option for option in OPTIONS if option.changes_answer)


def in_order(*first: str) -> tuple[OptionalArgument, ...]:
    """Every option, those of the fields `first` before the others: an order that drawn cases or printed texts depend on."""
    leading = {name: next(option for option in OPTIONS if option.field == name) for name in first}
    return (*leading.values(), *(option for option in OPTIONS if option.field not in leading))


def generated_parameters() -> frozenset[str]:
    """Names of every optional parameter that a target can have."""
    return frozenset(name for option in OPTIONS for name in option.parameters)


def option_of(parameter: str) -> OptionalArgument:
    """The option that a parameter belongs to."""
    return next(option for option in OPTIONS if parameter in option.parameters)


def later_fields() -> frozenset[str]:
    """Fields that the first schema of case files did not have."""
    return frozenset(name for option in OPTIONS if not option.always_in_json for name in option.fields)


def number_fields() -> tuple[str, ...]:
    """Fields that hold a number, or None where the option is not used."""
    every = (row for option in OPTIONS for row in zip(option.fields, option.unused, option.used, strict=True))
    return tuple(name for name, unused, used in every if unused is None and isinstance(used, (int, float)))


def plain_values() -> dict[str, object]:
    """Field -> the value that changes nothing where its option is used."""
    return {name: value for option in OPTIONS for name, value in zip(option.fields[1:], option.plain, strict=True)}
