"""Generates all nets and solvers of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamplex.errors import PrototxtError, UsageError
from siamplex.nets.architecture import Architecture
from siamplex.nets.solver import SolverOptions, solver
from siamplex.nets.train_val import STAGES, deploy, train_val
from siamplex.pairs.build import MEAN_BGR, SCALE
from siamplex.pairs.store import LAYOUTS
from siamplex.run.durable import write_text
from siamplex.schema.prototxt import to_text

_NOTE = "# Written by `siamplex prototxt`; change it there, or by hand knowing that it differs.\n"


TEST_BATCH = 128  # pairs a test batch, at most
_LARGEST_BATCH = 1 << 20


def whole_split(pairs: int) -> tuple[int, int]:
    """(test_iter, batch size) that go through a split of ``pairs`` once, but for a few pairs at the end."""
    count = -(-pairs // TEST_BATCH)
    return count, -(-pairs // count)


@dataclass(frozen=True)
class RunLayout:
    """Where the files of a run lie, as its prototxts name them (paths from the working folder)."""

    run: str = "run"
    prototxt: str = "prototxt"
    solvers: str = "solvers"
    has_val: bool = True

    def lmdb(self, split: str, layout: str) -> str:
        """The LMDB of a split."""
        return f"{self.run}/pairs/{split}_{layout}_lmdb"

    def net(self, stage: int, layout: str) -> str:
        """The train_val net of a stage."""
        return f"{self.prototxt}/train_val_stage{stage}_{layout}.prototxt"

    @property
    def deploy(self) -> str:
        """The deploy net."""
        return f"{self.prototxt}/deploy.prototxt"

    def solver(self, stage: int, layout: str) -> str:
        """The solver of a stage."""
        return f"{self.solvers}/stage{stage}_{layout}.prototxt"

    def prefix(self, stage: int) -> str:
        """Snapshot prefix of a stage."""
        return f"{self.run}/stage{stage}/snap"


@dataclass(frozen=True)
class NetOptions:
    """Everything a run's prototxts depend on.

    The paper names no batch size.  Its 5 GPU hours for 5000 iterations of stage 1 suggest a large one, and at 32 pairs
    the noise of the dropout masks dominates (docs/recipe.md).
    """

    arch: Architecture = field(default_factory=Architecture)
    stage1: SolverOptions = field(default_factory=SolverOptions)
    stage2: SolverOptions = field(default_factory=SolverOptions)
    batch_size: int = 256
    stage2_batch_size: int = 256
    test_batch_size: int = TEST_BATCH
    images: int = 504
    mean: tuple[float, float, float] = MEAN_BGR
    scale: float = SCALE

    def __post_init__(self) -> None:
        for option, batch in (("batch-size", self.batch_size), ("stage2-batch-size", self.stage2_batch_size)):
            if not 1 <= batch <= _LARGEST_BATCH:
                raise UsageError(f"--{option}: expected 1 to {_LARGEST_BATCH} pairs, found {batch}")


def generate(options: NetOptions, where: RunLayout) -> dict[str, str]:
    """All prototxts of a run: path -> text."""
    texts: dict[str, Any] = {where.deploy: deploy(options.arch)}
    splits = ("train", "val") if where.has_val else ("train",)
    for layout in LAYOUTS:
        for stage in STAGES:
            net = train_val(
                options.arch,
                stage,
                layout,
                {split: where.lmdb(split, layout) for split in splits},
                batch_size=options.batch_size if stage == 1 else options.stage2_batch_size,
                test_batch_size=options.test_batch_size,
                images=options.images,
                mean=options.mean,
                scale=options.scale,
            )
            texts[where.net(stage, layout)] = net
            settings = options.stage1 if stage == 1 else options.stage2
            texts[where.solver(stage, layout)] = solver(
                settings, where.net(stage, layout), where.prefix(stage), where.has_val
            )
    notes = {where.deploy: _NOTE + _input_note(options)}
    return {path: notes.get(path, _NOTE) + to_text(message) for path, message in texts.items()}


def _input_note(options: NetOptions) -> str:
    """A note on a deploy net's input preprocessing, which Caffe's fields cannot express."""
    mean = ", ".join(f"{m:g}" for m in options.mean)
    return f"# data: B, G, R of 0..255 less {mean}, times {options.scale:.9g}.\n"


def write(texts: dict[str, str]) -> list[Path]:
    """Write generated prototxts; a file that already says the same is left alone."""
    written = []
    for path, text in texts.items():
        target = Path(path)
        if target.exists():
            try:
                if target.read_text(encoding="utf-8") == text:
                    continue
            except (OSError, UnicodeDecodeError) as error:
                raise PrototxtError(target, None, f"cannot be read: {error}") from None
        write_text(target, text)
        written.append(target)
    return written
