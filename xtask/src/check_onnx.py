"""Checks exported model files with what everybody else uses: the onnx package and ONNX Runtime.

    cargo xtask check-onnx FILE...

Every error names the file, what was expected, and what is there. Exit code 1 if a file failed.
"""

import hashlib
import json
import sys

import numpy as np
import onnx
import onnxruntime

METADATA_KEY = "fieldmark"
SCHEMA = 1
OLDEST_OPSET = 17
# What only training needs, and the softmax, which the board computes after dividing by the temperature.
UNWANTED = {"Dropout", "Softmax", "LogSoftmax", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"}
PATTERN_7_64_SHA256 = "0487ab32f13e25a033c6e7affb94da8a7821b14d2a67421a81d74b121b2e042a"


class Refused(Exception):
    """A promise that a file does not keep."""


def expect(what, expected, actual, holds=None):
    if not (expected == actual if holds is None else holds):
        raise Refused(f"{what}: expected {expected}, got {actual}")


def split_mix(seed, first, count):
    """Numbers `first` to `first + count - 1`, counted from 1, of the SplitMix64 generator."""
    with np.errstate(over="ignore"):
        steps = np.arange(first, first + count, dtype=np.uint64)
        word = np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return word ^ (word >> np.uint64(31))


def colour(word):
    return np.array([word & 255, word >> 8 & 255, word >> 16 & 255], dtype=np.int64)


def pattern(seed, side):
    """The runtime's `frame::pattern`: u8 `[side, side, 3]`."""
    words = [int(word) for word in split_mix(seed, 1, 49)]
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    pixels = np.broadcast_to(colour(words[0]), (side, side, 3))
    for x_word, y_word, radius_word, colour_word in zip(*(words[1 + i :: 4] for i in range(4))):
        radius = 1 + side // 16 + radius_word % (side // 4 + 1)
        distance_squared = (x - x_word % side) ** 2 + (y - y_word % side) ** 2
        inside = np.maximum(radius * radius - distance_squared, 0)
        cover = (inside * 256 // (radius * radius))[..., None]
        change = (colour(colour_word) - pixels) * cover
        # Rust's division rounds towards zero, numpy's downwards.
        pixels = pixels + np.sign(change) * (np.abs(change) // 256)
    noise = split_mix(seed, 50, side * side).reshape(side, side, 1)
    noise = (noise >> np.array([0, 16, 32], dtype=np.uint64)).astype(np.int64)
    # Rust's remainder has the sign of the dividend, as fmod's has.
    return np.clip(pixels + np.fmod(noise, 32) - 16, 0, 255).astype(np.uint8)


def check_pattern():
    actual = hashlib.sha256(pattern(7, 64).tobytes()).hexdigest()
    expect("pattern(7, 64) of this script, as runtime/src/frame/pattern.rs has it", PATTERN_7_64_SHA256, actual)


def check_operators(model):
    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    opset = opsets.pop("ai.onnx", 0)
    expect("operator set", f"{OLDEST_OPSET} or later", opset, opset >= OLDEST_OPSET)
    expect("operator domains beside ai.onnx", [], sorted(opsets))
    unwanted = sorted({node.op_type for node in model.graph.node} & UNWANTED)
    expect("operators for training or softmax", [], unwanted)
    for node in model.graph.node:
        training = [a.name for a in node.attribute if a.name == "training_mode" and a.i]
        expect(f"training attributes of node {node.name!r}", [], training)
    return opset


def description(model):
    entries = {entry.key: entry.value for entry in model.metadata_props}
    expect("metadata keys", f"{METADATA_KEY!r} among them", sorted(entries), METADATA_KEY in entries)
    try:
        read = json.loads(entries[METADATA_KEY])
        schema, labels, tests = read["schema"], read["labels"], read["self_test"]
        side, channels = read["input"]["side"], read["groups"][-1]
        features = len(read["sketches"]["weights"]) // 2 if "sketches" in read else None
    except (ValueError, LookupError, TypeError) as error:
        raise Refused(f"metadata {METADATA_KEY!r}: expected a description, got {error!r}") from error
    expect("description's schema", SCHEMA, schema)
    lines = "".join(f"{label}\n" for label in labels)
    expect("labels' hash", read.get("labels_sha256"), hashlib.sha256(lines.encode()).hexdigest())
    expect("self-tests", "1 or more", len(tests), len(tests) > 0)
    return side, labels, channels, features, tests


def signature(values):
    """Name, element type and shape; a side that is not a number stands by its name."""
    tensors = [(value.name, value.type.tensor_type) for value in values]
    return {
        name: (
            onnx.TensorProto.DataType.Name(tensor.elem_type),
            [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim],
        )
        for name, tensor in tensors
    }


def check_signature(graph, side, classes, channels, features):
    constants = {tensor.name for tensor in graph.initializer}
    inputs = signature(value for value in graph.input if value.name not in constants)
    expect("inputs", {"image": ("FLOAT", [1, 3, side, side])}, inputs)
    outputs = signature(graph.output)
    expect("outputs", ["features"] * (features is not None) + ["logits", "maps"], sorted(outputs))
    if features is not None:
        expect('output "features"', ("FLOAT", [1, features]), outputs["features"])
    expect('output "logits"', ("FLOAT", [1, classes]), outputs["logits"])
    kind, shape = outputs["maps"]
    is_map = kind == "FLOAT" and shape[:2] == [1, channels] and [type(side) for side in shape[2:]] == [int, int]
    expect('output "maps"', ("FLOAT", [1, channels, "H", "W"]), (kind, shape), is_map)
    return shape


def run_self_tests(model, side, maps_shape, tests):
    """The largest difference from the trainer's logits."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    largest = 0.0
    for test in tests:
        image = pattern(test["seed"], side).transpose(2, 0, 1)[None].astype(np.float32)
        logits, maps = session.run(["logits", "maps"], {"image": image})
        where = f"self-test of seed {test['seed']}"
        expect(f"{where}, shape of maps", maps_shape, list(maps.shape))
        expect(f"{where}, maps", "finite and not below 0", maps.min(), np.isfinite(maps).all() and maps.min() >= 0)
        expected = np.array(test["logits"], dtype=np.float64)
        expect(f"{where}, number of logits", expected.size, logits.size)
        difference = np.abs(logits[0] - expected)
        # 1e-4, and above 10 as many digits as f32 holds.
        excess = difference - np.maximum(1e-4, 1e-5 * np.abs(expected))
        at = int(np.argmax(excess))
        within = bool(np.isfinite(difference).all() and excess[at] <= 0)
        expect(f"{where}, logit {at}", float(expected[at]), float(logits[0, at]), within)
        largest = max(largest, float(difference.max()))
    return largest


def check(file):
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    opset = check_operators(model)
    side, labels, channels, features, tests = description(model)
    maps_shape = check_signature(model.graph, side, len(labels), channels, features)
    largest = run_self_tests(model, side, maps_shape, tests)
    print(
        f"{file}: whole; operator set {opset}, {len(model.graph.node)} nodes, image [1, 3, {side}, {side}], "
        f"logits [1, {len(labels)}], maps {maps_shape}; {len(tests)} self-tests agree to {largest:.1e}"
    )


def main(files):
    check_pattern()
    failed = 0
    for file in files:
        try:
            check(file)
        # onnx and ONNX Runtime raise classes of their own for a bad file, with no common base but this.
        except Exception as error:
            failed += 1
            print(f"{file}: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
