"""Makes plain.mat and compressed.mat, which trainer/src/data/dataset/mat.rs reads. SciPy 1.17.1, NumPy 2.4.6."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

cars = np.zeros((1, 2), dtype=[("fname", "O"), ("bbox_x1", "O"), ("class", "O")])
cars[0, 0] = ("a.jpg", np.uint8(39), np.uint8(14))
cars[0, 1] = ("ü.jpg", np.uint16(300), np.float32(3.5))
names = np.array(["AM General Hummer SUV 2000", "Ram C/V"], dtype=object)
variables = {
    "annotations": cars,
    "class_names": names,
    "labels": np.array([[77.0, 1.0, 102.0]]),
    "small": np.array([[-2, 7]], dtype=np.int8),
    "large": np.array([[8189]], dtype=np.int64),
}
folder = Path(__file__).parent
savemat(folder / "plain.mat", variables)
savemat(folder / "compressed.mat", variables, do_compression=True)
