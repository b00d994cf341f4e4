"""The lines that call the target, compute the expected answer, and compare: only the parts that the case and the finding need."""

from __future__ import annotations

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.export.literals import LINE_WIDTH, Constants, array, number
from fuzz_decode.export.script_bound import Limits
from fuzz_decode.export.tensors import is_huge
from fuzz_decode.outcome import Symptom
from fuzz_decode.problems.poison import UNWRITTEN
from fuzz_decode.problems.problem import Problem

RESULT = "result = fn(q, k_cache, v_cache, block_table, seq_lens, scale, **options)"
ANSWER = "got, lse = result if isinstance(result, tuple) else (result, None)"
TF32 = "# where float32 may be multiplied as tf32"
INPUTS = ("q", "k_cache", "v_cache", "block_table", "seq_lens", "alibi_slopes", "sinks")

ANSWERS = """\
answers = [("out", options.get("out", got).clone(), q.dtype, exact, allowed)]
if lse is not None:
    answers.append(("lse", lse, torch.float32, exact_lse, allowed_lse))
"""
AGAIN = """\
# once more, on contiguous copies: no state of the first call may matter
sources = (q, k_cache, v_cache, block_table)
copies = [strided(x.shape, x.new_empty(x.shape).stride(), 0, x.numel(), x.dtype).copy_(x) for x in sources]
result = fn(*copies, seq_lens, scale, **options)
got, lse = result if isinstance(result, tuple) else (result, None)
answers.append(("out of the second call", options.get("out", got), q.dtype, exact, allowed))
if lse is not None:
    answers.append(("lse of the second call", lse, torch.float32, exact_lse, allowed_lse))
"""
COMPARED = """\
for name, answer, dtype, exact, allowed in answers:
    assert (answer.shape, answer.dtype) == (exact.shape, dtype), f"{name} is {list(answer.shape)} {answer.dtype}"
    bad = ~((answer == exact) | (answer.isfinite() & ((answer - exact).abs() <= allowed)))
    for index in map(tuple, bad.nonzero()[:1].tolist()):
        numbers = f"expected {exact[index]:.6g}, got {answer[index]:.6g}, allowed +-{allowed[index]:.2g}"
        wrong.append(f"{name}{list(index)}: {numbers}; {int(bad.sum())} of {bad.numel()} elements are wrong")
"""
STRAY = """\
stray = whole(out).view(torch.int%d) != 0x%X
stray.as_strided(out.shape, out.stride(), out.storage_offset()).fill_(False)
for offset in stray.nonzero()[:1].flatten().tolist():
    offset -= out.storage_offset()
    wrong.append(f"{int(stray.sum())} elements outside out were overwritten, the first {offset} elements from its start")
"""
NO_VERDICT = """\
def no_verdict(failure):
    \"\"\"Without a GPU a failure is no verdict: Triton's interpreter computes bfloat16 and float8 wrongly.\"\"\"
    if %sDEVICE == "cpu" and "triton" in sys.modules:
        print(f"{failure}\\nno verdict: Triton's interpreter computes bfloat16 and float8 wrongly; run this on a GPU")
        sys.exit(125)  # git bisect skips it
"""
SKIPPED = """\
        pytest.skip(f"{failure}; no verdict without a GPU")
"""
MODIFIED = """\
for name, now in inputs().items():
    if changed := int((now != before[name]).sum()):
        wrong.append(f"{changed} bytes of {name}, or of the memory around it, were changed")
"""
SAME_BITS = """\
for name, one, other in zip(("out", "lse"), first, (options.get("out", got), lse)):
    if one is not None and not torch.equal(*(each.contiguous().view(torch.uint8) for each in (one, other))):
        wrong.append(f"{name} differs in its bits from that of %s")
"""
FIRST = 'first = [None if answer is None else answer.clone() for answer in (options.get("out", got), lse)]'


def call(case: Case, *, guarded: bool) -> list[str]:
    """Lines that call the target with the options that it has; memory that it allocates is NaN, or finite as the case says.
    `guarded`: an exception may be no verdict."""
    slopes, sinks = ("alibi_slopes" if case.alibi else None), ("sinks" if case.sinks else None)
    caught = ["try:", f"    {RESULT}", "except Exception as error:", "    no_verdict(repr(error))", "    raise"]
    return [
        f'options = {{"out": out, "q_len": {case.q_len}, "window": {case.window}, "softcap": {case.softcap}}}',
        f'options |= {{"alibi_slopes": {slopes}, "sinks": {sinks}, "k_scale": {case.k_scale}, "v_scale": {case.v_scale}}}',
        "options = {name: value for name, value in options.items() if name in inspect.signature(fn).parameters}",
        *_on_filled_memory(case, caught if guarded else [RESULT]),
        ANSWER,
    ]


def _on_filled_memory(case: Case, lines: list[str]) -> list[str]:
    """The lines, around which what torch.empty hands out is filled."""
    if "allocations" in case.finite:
        return ["with Allocations():", *(f"    {line}" for line in lines)]
    on = "torch.use_deterministic_algorithms(True, warn_only=True)  # fills what torch.empty hands out with NaN"
    return [on, *lines, "torch.use_deterministic_algorithms(False)"]


def no_verdict(*, bundled: bool, as_test: bool) -> list[str]:
    """A function for failures that the interpreter may cause, with two empty lines after it; `bundled`: only another kernel's."""
    lines = (NO_VERDICT % ("sys.argv[1:] and " if bundled else "")).splitlines()
    return [*(lines[:3] + SKIPPED.splitlines() if as_test else lines), "", ""]


def reference(case: Case, allowed: dict[str, Limits], constants: Constants) -> list[str]:
    """Lines that compute attention by its definition, in float64, and the allowed error; `allowed` by device."""
    names = ("share", "floor", "lse")
    (share_lines, share), (floor_lines, floor), (lse_lines, lse) = (_limit(name, allowed, constants) for name in names)
    unit = allowed["cpu"].unit
    return [
        "exact, allowed = (torch.zeros_like(out, dtype=torch.float64) for _ in range(2))",
        "exact_lse, allowed_lse = (exact.new_zeros(q.shape[:2]) for _ in range(2))",
        *share_lines,
        *floor_lines,
        *lse_lines,
        "for row, head in itertools.product(*map(range, q.shape[:2])):",
        *(f"    {line}" for line in _row(case)),
        f"    allowed[row, head] = {share} * (weight @ v.abs()) + {unit} * exact[row, head].abs() + {floor}",
        f"    allowed_lse[row, head] = {lse}",
    ]


def watch(problem: Problem, symptom: Symptom | None) -> list[str]:
    """Lines before the call: a copy of the inputs, if the finding is that they change."""
    if symptom is not Symptom.INPUT_MODIFIED:
        return []
    case, lines = problem.case, []
    used = [name for name in INPUTS if getattr(problem, name) is not None]
    for name in used:
        live = is_huge(problem) and name in ("k_cache", "v_cache") and any(case.seq_lens)
        lines.append(f'    "{name}": {f"{name}[block, slot].view(torch.uint8)" if live else f"whole({name})"},')
    before = "before = {name: memory.clone() for name, memory in inputs().items()}"
    return ["inputs = lambda: {", *lines, "}", before]


def compared(problem: Problem, symptom: Symptom | None, relaid: list[str], *, again: bool) -> list[str]:
    """Lines that fill `wrong`. `relaid` builds the same values in plain layouts and calls the target on them; `again`: a second
    call is judged, too."""
    bits, mark = 8 * problem.out.element_size(), UNWRITTEN[problem.out.dtype]
    lines = ["wrong = []"]
    if symptom is Symptom.STRAY_WRITE:
        lines += (STRAY % (bits, mark)).splitlines()
    if symptom is Symptom.INPUT_MODIFIED:
        lines += MODIFIED.splitlines()
    lines += [*ANSWERS.splitlines(), *(AGAIN.splitlines() if again else []), *COMPARED.splitlines()]
    if symptom in (Symptom.NONDETERMINISTIC, Symptom.ORDER_DEPENDENT):
        repeat = [
            f"whole(out).view(torch.int{bits}).fill_(0x{mark:X})",
            RESULT,
            ANSWER,
            *(SAME_BITS % "the first run").splitlines(),
        ]
        lines += [FIRST, "for _ in range(10):  # a race may not show in each run", *(f"    {line}" for line in repeat)]
    if symptom is Symptom.LAYOUT_DEPENDENT:
        lines += [FIRST, "# the same values, laid out contiguously", *relaid]
        lines += (SAME_BITS % "the layout above").splitlines()
    return lines


def _row(case: Case) -> list[str]:
    """The lines for one row and head: visible tokens, scores, weights and the answer."""
    paged = case.block_size > 1
    seq = "row" if case.q_len == 1 else "seq"
    seen = f"int(seq_lens[{seq}])" + ("" if case.q_len == 1 else f" - {case.q_len - 1} + query")
    block, slot = (f"token // {case.block_size}", f"token % {case.block_size}") if paged else ("token", "0")
    first = "" if case.window is None else f"max(0, end - {case.window}), "
    several, needs_end = case.q_len > 1, case.q_len > 1 or case.window is not None or case.alibi or case.sinks
    optional = {
        f"seq, query = row // {case.q_len}, row % {case.q_len}": several,
        f"end = {f'max(0, {seen})  # a query token sees the tokens up to itself' if several else seen}": needs_end,
        f"token = torch.arange({first}{'end' if needs_end else seen}, device=DEVICE)": True,
        f"at = block_table[{seq}, {block}].long(), {slot}, head{f' // {case.group}' if case.group > 1 else ''}": True,
        f"k, v = k_cache[at].double(){_times(case.k_scale)}, v_cache[at].double(){_times(case.v_scale)}": True,
        "score = k @ q[row, head].double() * scale": True,
        f"score = {case.softcap} * torch.tanh(score / {case.softcap})": case.softcap is not None,
        "score = score + alibi_slopes[head].double() * (token + 1 - end)": case.alibi,
        "exact_lse[row, head] = score.logsumexp(0)": True,
        "if end > 0:  # a row that sees nothing has no sink": case.sinks and 0 in case.seq_lens,
        f"{'    ' * (0 in case.seq_lens)}exact_lse[row, head] = exact_lse[row, head].logaddexp(sinks[head].double())": case.sinks,
        "weight = (score - exact_lse[row, head]).exp()": True,
        "exact[row, head] = weight @ v": True,
    }
    return [line for line, used in optional.items() if used]


def _times(scale: float | None) -> str:
    return "" if scale is None else f" * {scale}"


def _limit(field: str, allowed: dict[str, Limits], constants: Constants) -> tuple[list[str], str]:
    """Lines that define a limit of each row and head, and an expression for it: a number, if all are the same."""
    by_device: dict[str, Tensor] = {device: getattr(limits, field) for device, limits in allowed.items()}
    name = {"lse": "limit_lse"}.get(field, field)
    numbers = {device: _number(table) for device, table in by_device.items()}
    single = all(numbers.values())
    texts = numbers if single else {device: array(name, table, constants) for device, table in by_device.items()}
    differs = texts["cuda"] != texts["cpu"]
    if single and not differs:
        return [], texts["cpu"]
    lines = [f'{name} = {texts["cpu"]} if DEVICE == "cpu" else {texts["cuda"]}  {TF32}']
    if not differs:
        lines = [f"{name} = {texts['cpu']}"]
    elif len(lines[0]) > LINE_WIDTH - 4:
        lines = [f"{name} = {texts['cpu']}", f'if DEVICE == "cuda":  {TF32}', f"    {name} = {texts['cuda']}"]
    return lines, name if single else f"{name}[row, head]"


def _number(table: Tensor) -> str:
    """The only number in the table apart from the zeros of rows that see nothing; empty if there are several."""
    numbers = set(table.flatten().tolist()) - {0.0}
    return number(max(numbers, default=0.0)) if len(numbers) < 2 else ""
