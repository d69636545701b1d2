"""What the stages of `gpu-check` share: how they fail, what they note, and how they start programs."""

import argparse
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failed(Exception):
    """A stage did not pass; the message says why."""


class NotRun(Exception):
    """A stage had nothing to work with; the message says what is missing."""


@dataclass
class Check:
    """What was asked for, and what was found so far."""

    args: argparse.Namespace
    sizes: dict
    machine: dict = field(default_factory=dict)
    outcomes: list = field(default_factory=list)  # (stage, "passed" | "FAILED" | "not run", what to know)
    tables: list = field(default_factory=list)  # lines of Markdown

    def record(self, stage, **values):
        with open(self.args.out / "gpu-check.jsonl", "a", encoding="utf-8") as file:
            print(json.dumps({"schema": 1, "stage": stage, **self.machine, **values}), file=file)

    def log(self, name):
        path = self.args.out / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def program(check, name, *words, log, environment=None):
    """What a program of `bin` printed; it also goes to the log."""
    command = [str(HERE / "run"), name, *map(str, words)]
    print("  $", *command, flush=True)
    done = subprocess.run(
        command,
        env={**environment_of(check), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    path = check.log(log)
    path.write_text(done.stdout, encoding="utf-8")
    if done.returncode != 0:
        raise Failed(f"{name} ended with {done.returncode}: {reason(done.stdout)} (all of it: {path})")
    return done.stdout


def environment_of(check):
    """What `run` starts in: CUDA's libraries may be those of the Python that has PyTorch."""
    return {**os.environ, "PYTHON": check.args.python}


def reason(text):
    """The line that says most: the first that starts with "error", panicked or FAILED, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"^(?i:error)\b|panicked|FAILED", line)]
    return (telling or lines[-1:] or ["it said nothing"])[0]


def smi(*words):
    """What `nvidia-smi` answers."""
    try:
        done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        fix = "install NVIDIA's driver, or start the container with the GPU"
        raise Failed(f"no GPU: nvidia-smi is not in PATH; {fix}") from None
    if done.returncode != 0:
        raise Failed(f"no GPU: nvidia-smi: {reason(done.stdout + done.stderr)}")
    return done.stdout.strip()


def gpu_index():
    """The GPU that CUDA programs see first."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
