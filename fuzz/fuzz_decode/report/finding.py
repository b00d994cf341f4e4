"""A finding for the eye: what was expected, what came, the case and its strides in tables, and how to see it again."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fuzz_decode.calls import differences
from fuzz_decode.case import DEFAULTS, Case
from fuzz_decode.corpus import Entry
from fuzz_decode.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout

OPTIONAL = ("q_len", "window", "softcap", "scale", "k_scale", "v_scale", "alibi", "sinks")
AXES = {"out": ("sequence", "q head", "dim"), "lse": ("sequence", "q head")}


def show_finding(console: Console, entry: Entry, repro: str, title: str) -> None:
    """Everything about one finding, and the line that shows it again, unbroken so that it can be copied."""
    console.print(finding_panel(entry, title))
    console.print(Text.assemble(("repro  ", "dim"), clean(repro, "bold")), soft_wrap=True)


def finding_text(entry: Entry, repro: str, title: str, width: int) -> str:
    """The same as plain text. What it looks like depends on no terminal, notebook or setting."""
    file = io.StringIO()
    plain: dict[str, Any] = {"color_system": None, "force_terminal": False, "force_jupyter": False, "highlight": False}
    show_finding(Console(file=file, width=width, **plain), entry, repro, title)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def finding_panel(entry: Entry, title: str) -> Panel:
    """What was wrong, the case, and why nothing can be left out of it."""
    parts: list[RenderableType] = [clean(str(entry.finding.get("message", ""))), worst_element(entry), Text()]
    if entry.finding.get("reads"):
        parts.insert(1, clean(str(entry.finding["reads"]), "dim"))
    if entry.diagnosis:
        parts.insert(0, clean(entry.diagnosis, "bold"))
    if entry.note:
        parts.insert(0, clean(entry.note, "bold"))
    parts += [case_table(entry.case), Text(), stride_table(entry.case)]
    if entry.before:
        parts += [Text(), calls_table(entry)]
    if entry.needed:
        parts += [Text(), needed_table(entry)]
    return Panel(Group(*parts), title=clean(title), title_align="left", border_style="red", expand=False)


def worst_element(entry: Entry) -> Text:
    """`out[sequence 0, q head 1, dim 5]: expected 0.6476, got 0.6536, allowed +-1.4e-05`."""
    finding: dict[str, Any] = entry.finding
    where = finding.get("where") or ()
    axes = AXES.get(str(finding.get("tensor")), ())
    if not where or len(axes) != len(where):
        return Text()
    row, *inner = where
    token = [("query token", row % entry.case.q_len)] if entry.case.q_len > 1 else []
    places = [(axes[0], row // entry.case.q_len), *token, *zip(axes[1:], inner, strict=True)]
    index = ", ".join(f"{axis} {place}" for axis, place in places)
    values = [("expected", "expected", "green"), ("got", "got", "red"), ("allowed", "allowed ±", "cyan")]
    text = Text(f"{finding['tensor']}[{index}]")
    for key, word, style in values:
        number = finding.get(key)
        if number is not None:
            shown = f"{number:.6g}" if isinstance(number, (int, float)) else str(number)
            text.append("  " + word + ("" if word.endswith("±") else " "), "dim").append_text(clean(shown, style))
    return text


def case_table(case: Case) -> Table:
    """Sizes in one row, features below."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    lengths = ", ".join(map(str, case.seq_lens[:12])) + (", ..." if case.num_seqs > 12 else "")
    table.add_row("seq_lens", f"{lengths}  ({case.num_seqs} sequence{'s' * (case.num_seqs > 1)})")
    table.add_row("heads", f"{case.num_q_heads} q, {case.num_kv_heads} KV, group {case.group}")
    table.add_row("head_dim", f"{case.head_dim}, V {case.value_head_dim}")
    table.add_row("block_size", f"{case.block_size}  ({case.num_blocks} blocks in the pool)")
    caches = f", caches {case.cache_dtype}" if case.cache_dtype else ""
    table.add_row("dtype, data", f"{case.dtype}{caches}, {case.data}, seed {case.seed}")
    for name in OPTIONAL:
        if getattr(case, name) != DEFAULTS[name]:
            table.add_row(name, str(getattr(case, name)))
    if case.layers > 1:
        table.add_row("layer", f"{case.layer} of {case.layers}")
    features = {name: value for name, value in case.features().items() if name.startswith("table.") and name != "table.layout"}
    if features:
        table.add_row("block table", ", ".join(f"{name.removeprefix('table.')} {value}" for name, value in features.items()))
    return table


def stride_table(case: Case) -> Table:
    """Shape and strides of every tensor, as the target gets them."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("tensor", "shape", "strides", "layout"):
        table.add_column(column, overflow="fold")
    v = case.v if case.v is not None else case.k
    v_row = case.value_head_dim if case.v is not None else case.k_row
    cache_k, cache_v = case.cache_sizes(case.k_row), case.cache_sizes(v_row)
    table.add_row("q", *_place(case.q, case.query_sizes(case.head_dim), QUERY_AXES), str(case.q))
    table.add_row("k_cache", *_place(case.k, cache_k, CACHE_AXES, case.head_dim), str(case.k))
    table.add_row("v_cache", *_place(v, cache_v, CACHE_AXES, case.value_head_dim), _where_v_lies(case))
    table.add_row("block_table", *_place(case.table.layout, case.table_sizes(), TABLE_AXES), str(case.table.layout))
    table.add_row("out", *_place(case.out, case.query_sizes(case.value_head_dim), QUERY_AXES), str(case.out))
    return table


def needed_table(entry: Entry) -> Table:
    """Each feature that is left, and what happens without it."""
    table = Table.grid(padding=(0, 2))
    features = entry.case.features()
    for name, verdict in entry.needed.items():
        table.add_row(Text("needed", "dim"), clean(f"{name} = {features.get(name, '?')}"), clean(f"without it: {verdict}", "dim"))
    return table


def calls_table(entry: Entry) -> Table:
    """What differs between each call before and the failing one: what a cache's key may lack."""
    table = Table.grid(padding=(0, 2))
    count = len(entry.before)
    table.add_row(Text(f"needs the {count} call{'s' * (count > 1)} before it", "bold"))
    for number, case in enumerate(entry.before, 1):
        changes = ", ".join(
            f"{name} {word(one)} -> {word(other)}" for name, (one, other) in differences(case, entry.case).items()
        )
        table.add_row(clean(f"call {number} -> {count + 1}  {changes or 'the same call again'}"))
    return table


def word(value: object) -> str:
    """A field's value in a word or two."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "default" if value is None else str(value)


def clean(text: str, style: str = "") -> Text:
    """Text from a file or a target, without what could steer a terminal."""
    return Text("".join(char if char.isprintable() or char == "\n" else "?" for char in text), style)


def _where_v_lies(case: Case) -> str:
    if case.v is not None:
        return str(case.v)
    if case.v_prefix_of_k:
        return "the first elements of K's rows"
    return f"K's buffer, {case.k.strides(case.cache_sizes(case.k_row))['kv']} elements further on"


def _place(layout: Layout, sizes: dict[str, int], axes: tuple[str, ...], dim: int | None = None) -> tuple[str, str]:
    strides = layout.strides(sizes)
    shape = [dim if axis == "dim" and dim is not None else sizes[axis] for axis in axes]
    return str(shape), str(tuple(strides[axis] for axis in axes))
