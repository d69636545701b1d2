"""The runs of engine.rs in other engines: what `cargo xtask bench engine` sets beside ours.

    engine.py ENGINE MODEL THREADS

It loads the ONNX file MODEL, or what the engine's own converter makes of it, and answers as engine.rs does.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
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


def litert(module, folder, threads):
    interpreter = module.Interpreter(f"{folder}/model.tflite", num_threads=threads)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    logits, maps = (output["index"] for output in interpreter.get_output_details())

    def run(image):
        # A picture comes with its channels last, and so it stays: only the view has them first.
        interpreter.set_tensor(source["index"], image.transpose(0, 2, 3, 1))
        interpreter.invoke()
        return interpreter.get_tensor(logits), interpreter.get_tensor(maps).transpose(0, 3, 1, 2)

    return run


def to_litert(model):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "engine_tflite.py")
    subprocess.run([sys.executable, script, model, "model.tflite"], check=True)


def openvino(module, model, threads):
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = module.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()

    def run(image):
        request.infer({"image": image}, share_inputs=True)
        return request.get_tensor("logits").data, request.get_tensor("maps").data

    return run


def ncnn(module, folder, threads):
    net = module.Net()
    # As its own benchncnn has it, in arithmetic that every peer has.
    net.opt.num_threads = threads
    allocators = module.UnlockedPoolAllocator(), module.PoolAllocator()
    net.opt.blob_allocator, net.opt.workspace_allocator = allocators
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    if net.load_param(f"{folder}/model.ncnn.param") or net.load_model(f"{folder}/model.ncnn.bin"):
        raise RuntimeError(f"ncnn cannot load {folder}")

    def run(image):
        extractor = net.create_extractor()
        extractor.input("in0", module.Mat(image[0]))
        return [np.array(extractor.extract(name)[1]) for name in ("out0", "out1")]

    # The net does not keep them alive.
    run.allocators = allocators
    return run


def to_ncnn(model):
    program = os.path.join(os.path.dirname(importlib.util.find_spec("pnnx").origin), "pnnx")
    os.symlink(model, "model.onnx")
    subprocess.run([program, "model.onnx", "fp16=0"], stdout=sys.stderr, check=True)
    with open("model.ncnn.param") as file:
        layers = file.read()
    # pnnx 20261020 loses the axis of the sum over a class's channels, the last.
    layers = re.sub(r"^(Reduction .*) -23303=0 ", r"\1 -23303=1,-1 ", layers, flags=re.MULTILINE)
    with open("model.ncnn.param", "w") as file:
        file.write(layers)


def mnn(module, folder, threads):
    runtime = module.nn.create_runtime_manager(({"backend": "CPU", "precision": "high", "numThread": threads},))
    net = module.nn.load_module_from_file(
        f"{folder}/model.mnn", ["image"], ["logits", "maps"], runtime_manager=runtime
    )

    def run(image):
        source = module.expr.const(image, image.shape, module.expr.NCHW)
        return [module.expr.convert(output, module.expr.NCHW).read() for output in net.forward([source])]

    return run


def to_mnn(model):
    # Not the `mnnconvert` program, which installs packages and reports home.
    words = ["mnnconvert", "-f", "ONNX", "--modelFile", model, "--MNNModel", "model.mnn", "--bizCode", "bench"]
    convert = f"import _tools; _tools.mnnconvert({words})"
    subprocess.run([sys.executable, "-c", convert], stdout=sys.stderr, check=True)


# By name: the package, its module, what converts a model into the current folder, where something must, and what gives
# a function from the image [1, 3, S, S] to logits and maps.
ENGINES = {
    "onnxruntime": ("onnxruntime", "onnxruntime", None, onnxruntime),
    "litert": ("ai-edge-litert", "ai_edge_litert.interpreter", to_litert, litert),
    "openvino": ("openvino", "openvino", None, openvino),
    "ncnn": ("ncnn", "ncnn", to_ncnn, ncnn),
    "mnn": ("mnn", "MNN", to_mnn, mnn),
}


def converted(engine, model, convert):
    """The folder beside the model with what the engine's converter makes of it."""
    folder = f"{os.path.splitext(model)[0]}.{engine}"
    if os.path.exists(folder) and os.path.getmtime(folder) >= os.path.getmtime(model):
        return folder
    unfinished = f"{folder}.unfinished"
    for old in (folder, unfinished):
        shutil.rmtree(old, ignore_errors=True)
    os.mkdir(unfinished)
    os.chdir(unfinished)
    convert(model)
    os.rename(unfinished, folder)
    return folder


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
    package, name, convert, load = ENGINES[engine]
    source = converted(engine, model, convert) if convert else model
    image = noise(side_of(model))
    empty_bytes = memory_bytes("VmRSS")
    module = importlib.import_module(name)
    started = time.perf_counter()
    run = load(module, source, int(threads))
    loaded = time.perf_counter()
    logits, maps = run(image)
    first = time.perf_counter()
    for _ in range(WARM_UP):
        run(image)
    answer = {
        "version": importlib.metadata.version(package),
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
