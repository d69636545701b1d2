"""The runs of engine.rs in other engines: what `cargo xtask bench engine` sets beside ours.

    engine.py ENGINE MODEL THREADS

It loads the ONNX file MODEL, or what the engine's own converter makes of it, and answers as engine.rs does.
"""

import importlib.metadata
import json
import os
import sys
import time

import numpy as np

WARM_UP = 3


def onnxruntime(module, model, threads):
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = module.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["logits", "maps"], {"image": image})


# By name: the module, and a function that gives a function from the image [1, 3, S, S] to logits and maps.
ENGINES = {
    "onnxruntime": ("onnxruntime", onnxruntime),
}


def noise(side):
    """The picture of engine.rs, as the network's input."""
    index = np.arange(3 * side * side, dtype=np.uint64)
    pixels = (((index * 2654435761) >> 13) & 255).reshape(1, side, side, 3)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)


def memory_bytes(name):
    """A line of Linux's /proc/self/status: VmRSS is the memory now, VmHWM the most there ever was."""
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines[name].split()[0]) * 1024


def program_bytes():
    """Of the native libraries that were loaded from the environment, but numpy's."""
    with open("/proc/self/maps") as maps:
        files = {line.split(maxsplit=5)[5].strip() for line in maps if "site-packages" in line}
    return sum(os.path.getsize(file) for file in files if "numpy" not in file)


def side_of(model):
    """The file's name is BACKBONE-SIDE.onnx."""
    return int(os.path.basename(model).removesuffix(".onnx").rpartition("-")[2])


def main(engine, model, threads):
    name, load = ENGINES[engine]
    image = noise(side_of(model))
    empty_bytes = memory_bytes("VmRSS")
    module = importlib.import_module(name)
    started = time.perf_counter()
    run = load(module, model, int(threads))
    loaded = time.perf_counter()
    logits, maps = run(image)
    first = time.perf_counter()
    for _ in range(WARM_UP):
        run(image)
    answer = {
        "version": importlib.metadata.version(name),
        "load_ms": (loaded - started) * 1e3,
        "first_ms": (first - loaded) * 1e3,
        "peak_bytes": memory_bytes("VmHWM") - empty_bytes,
        "program_bytes": program_bytes(),
        "logits": np.asarray(logits).ravel().tolist(),
        "maps": np.asarray(maps).ravel().tolist(),
    }
    print(json.dumps(answer), flush=True)
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), time.process_time()
        run(image)
        wall_ms, cpu_ms = (time.perf_counter() - started) * 1e3, (time.process_time() - cpu) * 1e3
        print(json.dumps({"wall_ms": wall_ms, "cpu_ms": cpu_ms}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
