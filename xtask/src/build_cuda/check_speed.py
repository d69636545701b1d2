"""The stage `speed` of `gpu-check`: training steps of ours and of PyTorch's, turn by turn on one GPU."""

import json
import os
import re
import statistics
import subprocess
import threading
from typing import NamedTuple

from check_programs import HERE, Failed, NotRun, environment_of, gpu_index, reason, smi

BACKBONES = ("resnet50", "efficientnet_lite0")
ENGINES = ("fieldmark", "PyTorch eager", "torch.compile")
# Beside ours, at the smaller side, when the others have left the GPU: what MC-Loss costs.
WITHOUT_MC = "fieldmark without MC-Loss"

# The most of a step that MC-Loss may take.
LOSS_SHARE = 0.03


class Case(NamedTuple):
    """One size to measure at."""

    backbone: str
    side: int
    batch: int
    precision: str

    def __str__(self):
        return f"{self.backbone} {self.side} {self.precision}"

    def words(self, check):
        """Options that every engine understands."""
        words = [f"--{name}={value}" for name, value in self._asdict().items()]
        threads = os.cpu_count() or 1
        return [
            *words,
            f"--steps={check.sizes['steps']}",
            f"--threads={threads}",
            f"--device={check.args.device}",
        ]


class Engine:
    """A program that does a round of steps for every line it reads."""

    def __init__(self, check, name, case):
        python = [check.args.python, str(HERE / "train.py"), "--channels-last"]
        starts = {
            "fieldmark": [str(HERE / "run"), "train"],
            WITHOUT_MC: [str(HERE / "run"), "train", "--without-mc"],
            "PyTorch eager": python,
            "torch.compile": [*python, "--compile"],
        }
        self.name = name
        self.driver_mib = None
        self.log = check.log("speed-" + re.sub(r"\W+", "-", f"{case} {name}"))
        self.lines = []
        with open(self.log, "w", encoding="utf-8") as stderr:
            self.process = subprocess.Popen(
                [*starts[name], "--on-line", *case.words(check)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment_of(check),
            )

    def round(self):
        try:
            print(file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(
                f"{self.name}: {reason(self.log.read_text(errors='replace'))} (all of it: {self.log})"
            )
        self.lines.append(json.loads(line))

    def end(self):
        self.process.kill()
        self.process.communicate()

    def rate(self):
        """Images a second; the first round is left out, it still warms up."""
        return statistics.median(line["images"] / line["seconds"] for line in self.lines[1:])

    def own_mib(self):
        return max(line["peak_bytes"] for line in self.lines) / 2**20


class GpuMemory:
    """The most that was in use on the GPU, beyond what was at the start, by the driver's count."""

    def __init__(self, check):
        self.thread = None
        if check.args.device == "cpu":
            return
        self.base = self.most = used_mib()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.stop.wait(0.02):
            self.most = max(self.most, used_mib())

    def end(self):
        """MiB, or none where nothing is counted."""
        if self.thread is None:
            return None
        self.stop.set()
        self.thread.join()
        return max(self.most, used_mib()) - self.base or None


def used_mib():
    used = smi("--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", gpu_index())
    return int(used) if used.isdigit() else 0


def speed(check):
    """The stage: every network, side and precision; PyTorch's absence costs only its own columns."""
    if check.args.device == "cuda":
        used_mib()  # Without a GPU, that is said once.
    missing = torch_is_missing(check)
    engines = ENGINES[:1] if missing else ENGINES[:2] if check.args.no_compile else ENGINES
    check.tables += [
        "",
        f"Training steps with MC-Loss, medians of {check.sizes['rounds']} interleaved rounds",
        "",
        "| network | precision | batch | engine | images/s | of eager | peak MiB, driver's count | own count |",
        "|---|---|---|---|---|---|---|---|",
    ]
    misses, shares = [], []
    for backbone in BACKBONES:
        for side, batch in check.sizes["batches"].items():
            for precision in check.sizes["precisions"]:
                case = Case(backbone, side, batch, precision)
                misses += side_by_side(check, case, engines)
                if side == min(check.sizes["batches"]):
                    misses += loss_share(check, case, shares)
    check.tables += ["", *shares]
    if misses:
        raise Failed("; ".join([missing, *misses] if missing else misses))
    if missing:
        raise NotRun(f"only our own rates were measured: {missing}")
    return "all engines ran" if check.args.device == "cpu" else "at least eager's rate in at most its memory"


def torch_is_missing(check):
    """Why there is no PyTorch, or nothing."""
    words = [check.args.python, "-c", "import torch; print(torch.__version__)"]
    fix = "name another Python with --python, or install it there (pip install torch)"
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"cannot start {check.args.python}: {error.strerror}; {fix}"
    if done.returncode == 0:
        check.machine["pytorch"] = done.stdout.strip()
        return ""
    return f"PyTorch is missing in {check.args.python}: {reason(done.stderr)}; {fix}"


def side_by_side(check, case, names):
    """Measures the engines at one size, writes their rows, and returns what failed or missed its goal."""
    print(f"  {case}", flush=True)
    measured, misses = in_turns(check, case, names)
    for name in names:
        write_row(check, case, name, measured)
    return misses + goals_missed(check, case, measured)


def loss_share(check, case, shares):
    """Adds a line on what MC-Loss takes of a step, and returns what failed or missed its goal."""
    measured, misses = in_turns(check, case, (ENGINES[0], WITHOUT_MC))
    if len(measured) < 2:
        return misses
    share = 1 - measured[ENGINES[0]].rate() / measured[WITHOUT_MC].rate()
    check.record("loss", **case._asdict(), share=share)
    shares.append(f"- {case}: MC-Loss takes {100 * share:.1f} % of a step")
    if check.args.device != "cpu" and share > LOSS_SHARE:
        misses.append(f"{case}: MC-Loss takes {100 * share:.1f} % of a step, the goal is {100 * LOSS_SHARE:.0f}")
    return misses


def in_turns(check, case, names):
    """The engines by name that did their rounds, one of each in turn, and what failed."""
    engines, misses = [], []
    try:
        for name in names:
            try:
                engines.append(started(check, case, name))
            except Failed as failed:
                misses.append(f"{case}: {failed}")
        for _ in range(check.sizes["rounds"]):
            for engine in engines:
                engine.round()
    except Failed as failed:
        misses.append(f"{case}: {failed}")
    finally:
        for engine in engines:
            engine.end()
    return {engine.name: engine for engine in engines if len(engine.lines) > 1}, misses


def started(check, case, name):
    """An engine that has done its first round, alone, while its memory was watched."""
    watch = GpuMemory(check)
    engine = Engine(check, name, case)
    try:
        engine.round()
    except BaseException:
        engine.end()
        raise
    finally:
        engine.driver_mib = watch.end()
    return engine


def write_row(check, case, name, measured):
    start = f"| {case.backbone} {case.side} | {case.precision} | {case.batch} | {name} |"
    if name not in measured:
        check.tables.append(f"{start} failed | | | |")
        return
    engine, eager = measured[name], measured.get("PyTorch eager")
    ratio = engine.rate() / eager.rate() if eager else None
    values = {"images_per_second": engine.rate(), "of_eager": ratio, "driver_mib": engine.driver_mib}
    values |= {"own_mib": engine.own_mib(), "rounds": engine.lines}
    check.record("speed", engine=name, **case._asdict(), **values)
    shown = ["" if ratio is None else f"{ratio:.2f}", "" if engine.driver_mib is None else engine.driver_mib]
    check.tables.append(f"{start} {engine.rate():.1f} | {shown[0]} | {shown[1]} | {engine.own_mib():.0f} |")


def goals_missed(check, case, measured):
    ours, eager = measured.get("fieldmark"), measured.get("PyTorch eager")
    if check.args.device == "cpu" or not ours or not eager:
        return []
    ratio = ours.rate() / eager.rate()
    slow = [f"{case}: {ratio:.2f} of eager's rate, the goal is 1.00"] if ratio < 1 else []
    return slow + memory_missed(case, ours.driver_mib, eager.driver_mib)


def memory_missed(case, ours, eager):
    if ours is None or eager is None:
        return [f"{case}: nvidia-smi counts no memory"]
    return [f"{case}: {ours} MiB, the goal is eager's {eager}"] if ours > eager else []
