"""Writes the trainer's ONNX file as LiteRT's flatbuffer: the same weights, channels last.

    engine_tflite.py MODEL.onnx MODEL.tflite

An activation becomes part of the layer before it. Padding that is neither none nor TensorFlow's SAME becomes a layer
of its own, which XNNPACK takes into the convolution after it. A node that the trainer does not export is an error.
"""

import sys

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

OPERATORS = schema.BuiltinOperator
ACTIVATIONS = schema.ActivationFunctionType
FILE_IDENTIFIER = b"TFL3"


class Writer:
    """The subgraph that grows node by node; a value is known by its ONNX name and by its tensor's number."""

    def __init__(self, graph):
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.readers = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = [output.name for output in graph.output]
        self.numbers, self.tensors, self.layers, self.codes = {}, [], [], []
        # The format wants the first buffer empty.
        self.buffers = [schema.BufferT()]

    def tensor(self, name, shape, data=None):
        """A tensor's number; `shape` is the tensor's own, channels last."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, list(shape)
        tensor.type = schema.TensorType.FLOAT32
        if data is not None:
            if data.dtype == np.int32:
                tensor.type = schema.TensorType.INT32
            tensor.buffer = len(self.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, data, kind=np.float32):
        data = np.asarray(data, kind)
        return self.tensor(f"constant_{len(self.tensors)}", data.shape, data)

    def layer(self, operator, inputs, name, shape, options=None):
        """Adds a layer; `name` is what it computes."""
        if operator not in self.codes:
            self.codes.append(operator)
        layer = schema.OperatorT()
        layer.opcodeIndex = self.codes.index(operator)
        layer.inputs = inputs
        self.numbers[name] = self.tensor(name, shape)
        layer.outputs = [self.numbers[name]]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            layer.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            layer.builtinOptions = options
        self.layers.append(layer)

    def shape(self, name):
        return self.tensors[self.numbers[name]].shape

    def activation(self, node):
        """The activation that alone reads what `node` computes, and the name of what the two compute."""
        readers = self.readers.get(node.output[0], [])
        if len(readers) == 1 and node.output[0] not in self.outputs:
            (after,) = readers
            if after.op_type == "Relu":
                return ACTIVATIONS.RELU, after.output[0]
            if after.op_type == "Clip" and [float(self.constants[name]) for name in after.input[1:]] == [0, 6]:
                return ACTIVATIONS.RELU6, after.output[0]
        return ACTIVATIONS.NONE, node.output[0]

    def padded(self, name, pads, kernel, stride):
        """The number of `name` with zeros around it, and the padding left to do."""
        _, height, width, channels = self.shape(name)
        if not any(pads):
            return self.numbers[name], schema.Padding.VALID
        same = []
        for side, window, step in zip((height, width), kernel, stride):
            total = max((-(-side // step) - 1) * step + window - side, 0)
            same.append((total // 2, total - total // 2))
        top, left, bottom, right = pads
        if same == [(top, bottom), (left, right)]:
            return self.numbers[name], schema.Padding.SAME
        around = [[0, 0], [top, bottom], [left, right], [0, 0]]
        shape = [1, height + top + bottom, width + left + right, channels]
        inputs = [self.numbers[name], self.constant(around, np.int32)]
        self.layer(OPERATORS.PAD, inputs, f"{name}.padded", shape, schema.PadOptionsT())
        return self.numbers[f"{name}.padded"], schema.Padding.VALID


def attributes(node):
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def swept(side, before, after, window, step):
    """How many windows fit."""
    return (side + before + after - window) // step + 1


def output_sides(writer, node, kernel, stride, pads):
    _, height, width, _ = writer.shape(node.input[0])
    top, left, bottom, right = pads
    return [
        swept(height, top, bottom, kernel[0], stride[0]),
        swept(width, left, right, kernel[1], stride[1]),
    ]


def conv(writer, node):
    given = attributes(node)
    weight, stride, pads, groups = writer.constants[node.input[1]], given["strides"], given["pads"], given["group"]
    outputs, inputs, *kernel = weight.shape
    is_depthwise = groups > 1
    if is_depthwise and (inputs, groups) != (1, outputs):
        raise ValueError(f"{node.name}: expected one group or a group a channel, got {groups}")
    options = schema.DepthwiseConv2DOptionsT() if is_depthwise else schema.Conv2DOptionsT()
    if is_depthwise:
        options.depthMultiplier = 1
    source, options.padding = writer.padded(node.input[0], pads, kernel, stride)
    options.strideH, options.strideW = stride
    sides = output_sides(writer, node, kernel, stride, pads)
    options.fusedActivationFunction, name = writer.activation(node)
    order = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
    bias = writer.constants[node.input[2]] if len(node.input) > 2 else np.zeros(outputs)
    sources = [source, writer.constant(weight.transpose(order)), writer.constant(bias)]
    operator = OPERATORS.DEPTHWISE_CONV_2D if is_depthwise else OPERATORS.CONV_2D
    writer.layer(operator, sources, name, [1, *sides, outputs], options)


def max_pool(writer, node):
    given = attributes(node)
    kernel, stride, pads = given["kernel_shape"], given["strides"], given["pads"]
    options = schema.Pool2DOptionsT()
    # Zeros around are no maximum: every pool of the trainer stands after a ReLU.
    source, options.padding = writer.padded(node.input[0], pads, kernel, stride)
    options.filterHeight, options.filterWidth = kernel
    options.strideH, options.strideW = stride
    shape = [1, *output_sides(writer, node, kernel, stride, pads), writer.shape(node.input[0])[3]]
    writer.layer(OPERATORS.MAX_POOL_2D, [source], node.output[0], shape, options)


def arithmetic(writer, node):
    """Add, Sub, Mul; of two maps, or of one and a constant a channel."""
    operator = getattr(OPERATORS, node.op_type.upper())
    options = getattr(schema, f"{node.op_type}OptionsT")()
    options.fusedActivationFunction, name = writer.activation(node)
    numbers = []
    for source in node.input:
        if source in writer.constants:
            value = writer.constants[source]
            value = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
            numbers.append(writer.constant(value))
        else:
            numbers.append(writer.numbers[source])
    shape = next(writer.shape(source) for source in node.input if source in writer.numbers)
    writer.layer(operator, numbers, name, shape, options)


def reduce(writer, node, operator, axes):
    shape = [side for axis, side in enumerate(writer.shape(node.input[0])) if axis not in axes]
    sources = [writer.numbers[node.input[0]], writer.constant(axes, np.int32)]
    writer.layer(operator, sources, node.output[0], shape, schema.ReducerOptionsT())


def reshape(writer, node):
    shape = writer.constants[node.input[1]].tolist()
    options = schema.ReshapeOptionsT()
    options.newShape = shape
    sources = [writer.numbers[node.input[0]], writer.constant(shape, np.int32)]
    writer.layer(OPERATORS.RESHAPE, sources, node.output[0], shape, options)


def add(writer, node):
    """What `node` becomes."""
    if node.op_type in ("Relu", "Clip") and node.output[0] in writer.numbers:
        return
    if node.op_type == "Conv":
        conv(writer, node)
    elif node.op_type == "MaxPool":
        max_pool(writer, node)
    elif node.op_type in ("Add", "Sub", "Mul"):
        arithmetic(writer, node)
    elif node.op_type == "GlobalAveragePool":
        reduce(writer, node, OPERATORS.MEAN, [1, 2])
    elif node.op_type == "ReduceSum":
        reduce(writer, node, OPERATORS.SUM, writer.constants[node.input[1]].tolist())
    elif node.op_type == "Flatten":
        # The means are flat already.
        writer.numbers[node.output[0]] = writer.numbers[node.input[0]]
    elif node.op_type == "Reshape":
        reshape(writer, node)
    else:
        raise ValueError(f"no layer for node {node.name!r}, {node.op_type}")


def written(graph):
    """The bytes of the file."""
    writer = Writer(graph)
    (image,) = graph.input
    side = image.type.tensor_type.shape.dim[2].dim_value
    writer.numbers[image.name] = writer.tensor(image.name, [1, side, side, 3])
    for node in graph.node:
        add(writer, node)
    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.operators = writer.tensors, writer.layers
    subgraph.inputs = [writer.numbers[image.name]]
    subgraph.outputs = [writer.numbers[name] for name in writer.outputs]
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [subgraph], writer.buffers
    model.operatorCodes = []
    for operator in writer.codes:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = operator
        model.operatorCodes.append(code)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def main(source, target):
    content = written(onnx.load(source).graph)
    with open(target, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
