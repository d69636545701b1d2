#!/usr/bin/env python3
"""All that has to be true on a machine with an NVIDIA GPU, in one go; no network, no Rust.

    gpu-check [DATA...] [--goal PERCENT] [--out DIR]

1. operations: values and gradients of every operation against PyTorch's numbers
2. determinism: two equal trainings end in the same bytes
3. speed: training steps of ResNet-50 and EfficientNet-Lite0 beside PyTorch, rates and memory
4. training: on each DATA folder of photos, to an accuracy: --goal, or 86 % on the 81 classes of a folder `grocery`
   (the Grocery Store photos), or on any others better than by always naming the most frequent class

A stage that fails is reported, and the others still run. Results go to gpu-check.md and gpu-check.jsonl in --out,
what the programs said to its folder logs. Exit code: 0 all passed; 1 something failed or did not run.
Stage 3 needs PyTorch in the Python that starts this, or in --python.
"""

import argparse
import datetime
import hashlib
import json
import platform
import re
import shutil
import sys
from pathlib import Path

from check_programs import Check, Failed, NotRun, gpu_index, program, smi
from check_speed import speed

# A GPU's sizes, and those of a rehearsal on the processor. Sides with their batches: pixels a step stay the same.
SIZES = {
    "cuda": {
        "batches": {224: 128, 448: 32},
        "precisions": ("f32", "bf16"),
        "steps": 10,
        "rounds": 7,
        "birds": ("--train", "40", "--test", "10"),
        "short": ("--epochs", "2"),
        "long": (),
    },
    "cpu": {
        "batches": {64: 2},
        "precisions": ("f32",),
        "steps": 1,
        "rounds": 2,
        "birds": ("--classes", "4", "--train", "6", "--test", "4", "--side", "64"),
        "short": ("--epochs", "1", "--side", "64", "--batch", "8"),
        "long": ("--epochs", "1", "--side", "64", "--batch", "8"),
    },
}

# Percent that a training must reach, by a folder's name and how many classes it has.
GOALS = {("grocery", 81): 86.0}


def find_gpu(check):
    if check.args.device == "cpu":
        return {"gpu": f"none, a rehearsal on {platform.machine()}", "driver": "-"}
    query = smi("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader", "-i", gpu_index())
    name, driver, memory = query.splitlines()[0].split(", ")
    return {"gpu": f"{name}, {memory}", "driver": driver}


def machine(check):
    check.machine = {"gpu": "unknown", "driver": "-"}
    check.machine = find_gpu(check)
    version = program(check, "fieldmark-trainer", "--version", log="machine").strip()
    check.machine["program"] = version
    return f"{check.machine['gpu']}, driver {check.machine['driver']}, {version}"


def operations(check):
    environment = {"FIELDMARK_TEST_DEVICE": check.args.device}
    words = ("ops::", "mc_loss::", "--test-threads", "1")
    said = program(check, "promises", *words, log="operations", environment=environment)
    passed = re.search(r"(\d+) passed; 0 failed", said)
    if not passed or passed[1] == "0":
        raise Failed("no test ran")
    check.record("operations", passed=int(passed[1]))
    return f"{passed[1]} tests, each of many cases"


def determinism(check):
    birds = check.args.out / "birds"
    if not birds.exists():
        program(check, "fieldmark-trainer", "synth", birds, *check.sizes["birds"], log="synth")
    found = []
    for precision in check.sizes["precisions"]:
        hashes = [trained_hash(check, birds, precision, index) for index in (1, 2)]
        same = hashes[0] == hashes[1]
        check.record("determinism", precision=precision, same=same, sha256=hashes)
        if not same:
            raise Failed(f"{precision}: two equal trainings ended in different weights")
        found.append(f"{precision} {hashes[0][:12]}")
    return "same weights from two runs: " + ", ".join(found)


def trained_hash(check, birds, precision, index):
    run = check.args.out / f"short-{precision}-{index}"
    train(check, birds, run, *check.sizes["short"], "--precision", precision, "--seed", 7)
    return hashlib.sha256((run / "last.safetensors").read_bytes()).hexdigest()


def train(check, data, run, *words):
    shutil.rmtree(run, ignore_errors=True)
    words = ("train", data, "--out", run, "--device", check.args.device, *words)
    program(check, "fieldmark-trainer", *words, log=run.name)


def training(check):
    data = list(check.args.data)
    if not data and check.args.device == "cpu":
        data = [check.args.out / "birds"]
    if not data:
        raise NotRun("no DATA was named")
    check.tables += [
        "",
        "Training with the recipe's defaults",
        "",
        "| pictures | right answers | goal |",
        "|---|---|---|",
    ]
    found, misses = [], []
    for folder in data:
        try:
            evaluation = trained(check, folder)
        except Failed as failed:
            misses.append(f"{folder}: {failed}")
            continue
        accuracy, goal = 100 * evaluation["top1"], goal_of(check, folder, evaluation["classes"])
        check.record("training", data=str(folder), accuracy=accuracy, goal=goal)
        check.tables.append(f"| {folder.name} | {accuracy:.1f} % | {goal:.1f} % |")
        told = f"{folder.name} {accuracy:.1f} %, the goal is {goal:.1f} %"
        (misses if accuracy < goal else found).append(told)
    if misses:
        raise Failed("; ".join(misses))
    return "; ".join(found)


def trained(check, folder):
    run = check.args.out / f"run-{folder.name}"
    train(check, folder, run, *check.sizes["long"], *check.args.train.split())
    program(check, "fieldmark-trainer", "eval", run, log=f"eval-{folder.name}")
    return json.loads((run / "eval.json").read_text())


def goal_of(check, folder, classes):
    """Right answers in percent that a training must reach."""
    if check.args.goal is not None or check.args.device == "cpu":
        return check.args.goal or 0.0
    known = GOALS.get((folder.resolve().name, len(classes)))
    pictures = [entry["pictures"] for entry in classes]
    # One answer more than a network gets right that has learnt nothing.
    return known or 100 * (max(pictures) + 1) / sum(pictures)


STAGES = {stage.__name__: stage for stage in (machine, operations, determinism, speed, training)}


def perform(check, stage):
    print(f"{stage.__name__} ...", flush=True)
    try:
        outcome = ("passed", stage(check))
    except NotRun as missing:
        outcome = ("not run", str(missing))
    except Failed as failed:
        outcome = ("FAILED", str(failed))
    except Exception as error:  # A bug in one stage must not cost the others.
        outcome = ("FAILED", f"{type(error).__name__}: {error}")
    print(f"{stage.__name__}: {outcome[0]}: {outcome[1]}", flush=True)
    check.outcomes.append((stage.__name__, *outcome))
    check.record("outcome", of=stage.__name__, outcome=outcome[0], text=outcome[1])


def report(check):
    today = datetime.date.today().isoformat()
    lines = [
        f"# gpu-check: {check.machine['gpu']}",
        "",
        f"{today}, driver {check.machine['driver']}, device {check.args.device}",
    ]
    lines += ["", "| stage | outcome | |", "|---|---|---|"]
    lines += [
        f"| {stage} | {outcome} | {text.replace('|', ' ').strip()} |"
        for stage, outcome, text in check.outcomes
    ]
    path = check.args.out / "gpu-check.md"
    path.write_text("\n".join(lines + check.tables) + "\n", encoding="utf-8")
    print(f"\n{path}")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", type=Path, help="folders of photos, one folder a class")
    parser.add_argument("--out", type=Path, default=Path("gpu-check-out"), help="folder for all that is made")
    parser.add_argument("--goal", type=float, help="right answers in percent that each training must reach")
    parser.add_argument(
        "--train", default="", help="more for `fieldmark-trainer train` on DATA, one word of many"
    )
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes a minute a row")
    parser.add_argument("--only", action="append", choices=STAGES, help="only this stage; may be repeated")
    # A rehearsal of every stage, small, on the processor.
    parser.add_argument("--device", choices=SIZES, default="cuda", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu-check.jsonl").unlink(missing_ok=True)
    check = Check(args, SIZES[args.device])
    for name, stage in STAGES.items():
        if name == "machine" or not args.only or name in args.only:
            perform(check, stage)
    report(check)
    return 0 if all(outcome == "passed" for _, outcome, _ in check.outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
