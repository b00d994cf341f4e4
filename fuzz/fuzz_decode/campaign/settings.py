"""What a campaign is to do. The command line and the Python API both build it, and it checks itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.campaign.option_values import (
    DEFAULT_ITERS,
    DEFAULT_SECONDS,
    DEVICE,
    DTYPE_NAMES,
    ENGINE,
    NATURAL,
    PLACES,
    POSITIVE,
    SECONDS,
    SEQUENCE,
)
from fuzz_decode.errors import UsageError
from fuzz_decode.files import corpus_must_be_writable
from fuzz_decode.workers.devices import default_jobs, pick_device, pick_gpus
from fuzz_decode.workers.engines import NATIVE, pick_engine
from fuzz_decode.workers.protocol import IMPORT_SECONDS, WorkerConfig

RULES = {
    "device": DEVICE,
    "engine": ENGINE,
    "seed": NATURAL,
    "iters": POSITIVE,
    "time": SECONDS,
    "stop_after": POSITIVE,
    "jobs": POSITIVE,
    "sequence": SEQUENCE,
    "dtypes": DTYPE_NAMES,
    "needs_finite": PLACES,
    "timeout": SECONDS,
    "import_timeout": SECONDS,
    "minimize_time": SECONDS,
}
MAY_BE_NONE = ("iters", "time", "stop_after", "jobs", "sequence", "dtypes")


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """What a campaign is to do; fields are named as the command line and the API name them.

    Raises UsageError, one sentence that names the field and what it can be, if a value is wrong or the corpus cannot be written.
    """

    target: str
    """name of the function under test"""
    corpus: Path
    """folder where findings are kept, and whose ledger.toml lists known failures"""
    device: str = "auto"
    """cpu or cuda; auto becomes one of them"""
    engine: str = "auto"
    """what runs Triton kernels on the CPU: native, interpreter, or auto"""
    seed: int = 0
    """same seed, same cases"""
    iters: int | None = DEFAULT_ITERS
    """number of cases; None: no limit"""
    time: float | None = None
    """seconds; None: no limit"""
    stop_after: int | None = None
    """number of distinct findings; None: no limit"""
    jobs: int | None = None
    """worker processes; None: one for each core"""
    devices: str = ""
    """GPUs that workers take in turn: all, or numbers with commas between; empty: the first"""
    sequence: int | None = None
    """calls in a row, each row in a fresh process; None: processes go on from case to case"""
    dtypes: tuple[str, ...] | None = None
    """dtypes of q; None: all"""
    needs_finite: tuple[str, ...] = ()
    """places where the target needs finite numbers, beside those that it declares"""
    timeout: float = DEFAULT_SECONDS
    """seconds for a case"""
    import_timeout: float = IMPORT_SECONDS
    """seconds until an import of the target is given up"""
    minimize_time: float = DEFAULT_SECONDS
    """seconds for minimizing a finding"""
    ray: str | None = None
    """address of a Ray cluster that runs the cases, or local; None: processes of this machine"""
    checkpoint: Path | None = None
    """file that says how far the campaign is, so that it can be resumed; None: it cannot"""
    resume: bool = False
    """continue where the checkpoint says"""
    in_rounds: bool | None = None
    """whether cases come in rounds that share compiled kernels; None: where kernels are compiled"""

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            value = getattr(self, name)
            if not (value is None and name in MAY_BE_NONE):
                object.__setattr__(self, name, rule.checked(name, value))
        if self.iters is None and self.time is None:
            raise UsageError("iters and time are both None; one of them must say when to stop")
        object.__setattr__(self, "device", pick_device(self.device))
        self._check_devices()
        pick_engine(self.engine, self.device)
        corpus_must_be_writable(self.corpus)

    def _check_devices(self) -> None:
        """Raises UsageError if `devices` names GPUs that do not exist, or that the campaign does not use."""
        if not self.devices:
            return
        if self.ray or self.device != "cuda":
            where = "where Ray places it" if self.ray else "on the CPU"
            raise UsageError(f"--devices {self.devices} names GPUs of this machine, but this campaign runs {where}; leave it out")
        pick_gpus(self.devices)

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs of `devices`, as CUDA_VISIBLE_DEVICES names them."""
        return pick_gpus(self.devices) if self.devices else ()

    @property
    def job_count(self) -> int:
        """Worker processes to start."""
        return self.jobs or default_jobs(self.device, max(1, len(self.gpus)))

    @property
    def worker_config(self) -> WorkerConfig:
        """How a worker is started; of several GPUs, on the first."""
        config = WorkerConfig(
            self.target,
            self.device,
            self.timeout,
            self.dtypes or (),
            import_timeout=self.import_timeout,
            engine=pick_engine(self.engine, self.device),
            needs_finite=self.needs_finite,
        )
        return config.on(self.gpus[0]) if self.gpus else config

    def draws_rounds(self, declares_kernels: bool) -> bool:
        """Whether cases come in rounds, for a target that declares what it compiles for, or does not: on a GPU always, since
        compiling takes seconds; in the native engine only where that is known. A sequence is a round of its own kind."""
        if self.sequence is not None or self.in_rounds is not None:
            return self.sequence is None and bool(self.in_rounds)
        return self.device == "cuda" or (declares_kernels and pick_engine(self.engine, self.device).engine == NATIVE)
