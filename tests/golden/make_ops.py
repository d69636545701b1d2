"""Golden numbers for trainer/src/net/ops: what PyTorch computes, forward and backward.

    pip install torch safetensors numpy
    python make_ops.py                      # writes ops.safetensors beside itself

The committed file was made with Python 3.11.7, torch 2.15.0 (CPU, 1 thread), numpy 2.4.6,
safetensors 0.8.0.

Every number is computed in f64 from inputs that f32 holds exactly, then stored as f32. A case is a
prefix `operation/case/`: inputs (`x`, `weight`, ...), `dy` (the gradient that arrives), and what comes
out (`y`, `dx`, `dweight`, ...). Settings travel with the case as small tensors, so that the test reads
them instead of repeating them: `geometry` = stride, padding (top, left, bottom, right), groups.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

torch.set_num_threads(1)
rng = np.random.default_rng(20200212)
golden = {}


def rounded(x):
    return x.float().double()


def normal(*shape):
    """Draws from N(0, 1)."""
    return rounded(torch.from_numpy(rng.standard_normal(shape)))


def distinct(*shape):
    """All values different: multiples of 1/8 around zero in random order."""
    n = int(np.prod(shape))
    return torch.from_numpy((rng.permutation(n) - n // 2) / 8.0).reshape(shape)


def tied(*shape):
    """Few values, half of them zero, as after a ReLU."""
    return torch.from_numpy(rng.integers(-2, 3, shape).clip(0)).double()


def store(name, tensors, **settings):
    for key, value in {**tensors, **settings}.items():
        if isinstance(value, torch.Tensor):
            value = value.detach().numpy()
        value = np.asarray(value)
        kind = np.uint32 if value.dtype.kind in "iu" else np.float32
        golden[f"{name}/{key}"] = np.ascontiguousarray(value.astype(kind))


def case(name, function, inputs, **settings):
    """Runs `function(**inputs)`, and backward from a random gradient to every input."""
    inputs = {key: rounded(value).requires_grad_() for key, value in inputs.items()}
    y = function(**inputs)
    dy = normal(*y.shape)
    y.backward(dy)
    gradients = {f"d{key}": value.grad for key, value in inputs.items()}
    store(name, {**inputs, "y": y, "dy": dy, **gradients}, **settings)


def pad(x, padding, value=0.0):
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def same(side, kernel, stride):
    """TensorFlow's SAME rule for one axis: before, after."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def conv(name, x, weight, stride=1, padding=(0, 0, 0, 0), groups=1):
    case(
        f"conv/{name}",
        lambda x, weight: F.conv2d(pad(x, padding), weight, stride=stride, groups=groups),
        {"x": normal(*x), "weight": normal(*weight)},
        geometry=[stride, *padding, groups],
    )


def conv_same(name, x, weight, stride, groups=1):
    (top, bottom), (left, right) = (same(x[i], weight[i], stride) for i in (2, 3))
    conv(name, x, weight, stride, (top, left, bottom, right), groups)


conv("dense_3x3", (2, 3, 5, 7), (4, 3, 3, 3), padding=(1, 1, 1, 1))
conv("dense_1x1", (2, 5, 4, 3), (6, 5, 1, 1))
conv("dense_1x1_stride_2", (2, 3, 5, 6), (4, 3, 1, 1), stride=2)
conv("dense_1x3_without_padding", (1, 2, 4, 6), (3, 2, 1, 3))
conv("dense_3x3_stride_2_odd", (2, 2, 7, 9), (3, 2, 3, 3), 2, (1, 1, 1, 1))
conv("dense_3x3_stride_2_mixed_parity", (2, 2, 6, 5), (3, 2, 3, 3), 2, (1, 1, 1, 1))
conv("dense_7x7_stride_2", (1, 3, 11, 9), (2, 3, 7, 7), 2, (3, 3, 3, 3))
conv("dense_3x3_stride_3", (1, 2, 8, 7), (2, 2, 3, 3), 3, (1, 1, 1, 1))
conv("grouped_3x3", (2, 6, 5, 4), (4, 3, 3, 3), 1, (1, 1, 1, 1), groups=2)
conv("grouped_1x1_stride_2", (2, 6, 5, 5), (9, 2, 1, 1), 2, groups=3)
conv("depthwise_3x3", (2, 5, 6, 7), (5, 1, 3, 3), 1, (1, 1, 1, 1), groups=5)
conv("depthwise_3x3_stride_2", (2, 5, 6, 7), (5, 1, 3, 3), 2, (1, 1, 1, 1), groups=5)
conv("depthwise_twofold", (1, 3, 5, 5), (6, 1, 3, 3), 1, (1, 1, 1, 1), groups=3)
conv("depthwise_wider_than_a_vector", (1, 2, 3, 37), (2, 1, 3, 3), 1, (1, 1, 1, 1), groups=2)
conv_same("same_3x3_stride_2", (2, 3, 8, 6), (4, 3, 3, 3), 2)
conv_same("same_3x3_stride_2_mixed_parity", (1, 3, 8, 7), (2, 3, 3, 3), 2)
conv_same("same_depthwise_5x5_stride_2", (2, 3, 8, 9), (3, 1, 5, 5), 2, groups=3)
conv_same("same_depthwise_3x3", (1, 4, 5, 6), (4, 1, 3, 3), 1, groups=4)


ACTIVATIONS = {"none": lambda y: y, "relu": F.relu, "relu6": F.relu6}


def batch_norm(name, x, activation, eps, momentum=0.1):
    channels = x.shape[1]
    running_mean, running_var = normal(channels), rounded(normal(channels).abs() + 0.5)
    before = {"running_mean": running_mean.clone(), "running_var": running_var.clone()}
    name = f"batch_norm/{name}"
    case(
        name,
        lambda x, gamma, beta: ACTIVATIONS[activation](
            F.batch_norm(x, running_mean, running_var, gamma, beta, True, momentum, eps)
        ),
        {"x": x, "gamma": 3.0 * normal(channels), "beta": 3.0 * normal(channels)},
        activation=list(ACTIVATIONS).index(activation),
        eps=eps,
        momentum=momentum,
        next_running_mean=running_mean,
        next_running_var=running_var,
        **before,
    )


batch_norm("plain", normal(3, 4, 3, 5), "none", 1e-5)
batch_norm("relu", normal(2, 5, 4, 4), "relu", 1e-5)
batch_norm("relu6", normal(4, 3, 5, 3), "relu6", 1e-3)
batch_norm("far_from_zero", 0.25 * normal(2, 2, 4, 4) + 8.0, "none", 1e-5)


for activation in ACTIVATIONS:
    case(
        f"scale_shift/{activation}",
        lambda x, scale, shift: ACTIVATIONS[activation](
            x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)
        ),
        {"x": normal(2, 4, 3, 5), "scale": 3.0 * normal(4), "shift": 3.0 * normal(4)},
        activation=list(ACTIVATIONS).index(activation),
    )

bounds = torch.tensor([-1.0, -0.0, 0.0, 0.5, 5.5, 6.0, 6.5, 3.0]).double().reshape(1, 2, 2, 2)
case("relu/at_its_bound", F.relu, {"input": bounds})
case("relu6/at_its_bounds", F.relu6, {"input": bounds})


def max_pool(name, x, kernel, stride, padding=(0, 0, 0, 0)):
    case(
        f"max_pool/{name}",
        lambda x: F.max_pool2d(pad(x, padding, -torch.inf), kernel, stride),
        {"x": x},
        window=[kernel, stride, *padding],
    )


max_pool("2x2_unique", distinct(2, 3, 4, 6), 2, 2)
max_pool("2x2_tied", tied(2, 3, 6, 4), 2, 2)
max_pool("2x2_odd", distinct(2, 2, 7, 5), 2, 2)
max_pool("3x3_stride_2_even", distinct(2, 2, 8, 6), 3, 2, (1, 1, 1, 1))
max_pool("3x3_stride_2_odd", distinct(1, 2, 7, 9), 3, 2, (1, 1, 1, 1))
max_pool("3x3_stride_2_tied", tied(2, 3, 8, 7), 3, 2, (1, 1, 1, 1))
max_pool("3x3_stride_2_negative", -1.0 - distinct(1, 2, 6, 6).abs(), 3, 2, (1, 1, 1, 1))
max_pool("3x3_stride_2_same", distinct(1, 2, 8, 6), 3, 2, (0, 0, 1, 1))


def avg_pool(name, x, kernel, stride):
    case(
        f"avg_pool/{name}",
        lambda x: F.avg_pool2d(x, kernel, stride),
        {"x": normal(*x)},
        window=[kernel, stride],
    )


avg_pool("2x2", (2, 3, 4, 6), 2, 2)
avg_pool("2x2_odd", (2, 2, 7, 5), 2, 2)
avg_pool("3x3_stride_2", (1, 2, 7, 8), 3, 2)
avg_pool("3x3_stride_1", (1, 2, 5, 4), 3, 1)

case("gap/rectangle", lambda x: x.mean((2, 3)), {"x": normal(2, 5, 3, 4)})


def groups(x, sizes):
    return torch.split(x, sizes, dim=1)


def ccmp(name, x, sizes):
    """`max(dim)` sends the gradient to the first maximum."""
    case(
        f"ccmp/{name}",
        lambda x: torch.stack([group.max(1).values for group in groups(x, sizes)], 1),
        {"x": x},
        sizes=sizes,
    )


ccmp("even_unique", distinct(2, 6, 3, 4), [3, 3])
ccmp("even_tied", tied(2, 9, 4, 3), [3, 3, 3])
ccmp("uneven_tied", tied(2, 7, 3, 3), [2, 1, 4])
ccmp("dead", torch.zeros(1, 4, 2, 3).double(), [2, 2])


def coverage(name, x, sizes):
    """h / xi of every class: softmax over space, maximum over the group, sum over space."""

    def function(x):
        p = x.flatten(2).softmax(2)
        h = [group.max(1).values.sum(1) / group.shape[1] for group in groups(p, sizes)]
        return torch.stack(h, 1)

    case(f"coverage/{name}", function, {"x": x}, sizes=sizes)


coverage("even", 2.0 * normal(2, 6, 3, 4).clip(0), [3, 3])
coverage("uneven", 3.0 * normal(2, 7, 4, 4).clip(0), [2, 1, 4])
coverage("dead", torch.zeros(1, 4, 2, 3).double(), [2, 2])
coverage("tall", 100.0 * normal(1, 4, 3, 3).clip(0), [2, 2])


def sgd(name, rate, momentum=0.0, nesterov=False, weight_decay=0.0, steps=4, n=6):
    param = torch.nn.Parameter(normal(n))
    before = param.detach().clone()
    optimiser = torch.optim.SGD(
        [param], lr=rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )
    gradients, after = normal(steps, n), []
    for gradient in gradients:
        param.grad = gradient.clone()
        optimiser.step()
        after.append(param.detach().clone())
    store(
        f"sgd/{name}",
        {"param": before, "gradients": gradients, "params": torch.stack(after)},
        settings=[rate, momentum, float(nesterov), weight_decay],
    )


sgd("plain", 0.1)
sgd("weight_decay", 0.1, weight_decay=0.05)
sgd("momentum", 0.1, momentum=0.9)
sgd("nesterov", 0.1, momentum=0.9, nesterov=True)
sgd("momentum_weight_decay", 0.05, momentum=0.9, weight_decay=0.05)
sgd("nesterov_weight_decay", 0.05, momentum=0.9, nesterov=True, weight_decay=0.05)

case(
    "add_relu/tied",
    lambda a, b: F.relu(a + b),
    {"a": tied(2, 3, 4, 5) - 1.0, "b": 1.0 - tied(2, 3, 4, 5)},
)

save_file(golden, Path(__file__).with_name("ops.safetensors"))
