"""Makes the fixtures of this folder: python make.py, with torch 2.15 and torchvision 0.29."""

import argparse
import os

import torch
import torchvision
from torch import nn


def ramp(*shape):
    """Multiples of 1/16 in [-1/2, 1/2], which every float type holds exactly."""
    return (torch.arange(torch.Size(shape).numel()) % 17 - 8).reshape(shape) / 16


class Hostile:
    def __reduce__(self):
        return os.system, ("touch executed",)


# A module's state_dict, which carries metadata.
module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
with torch.no_grad():
    module[0].weight.copy_(ramp(2, 3))
    module[0].bias.copy_(ramp(2))
module(ramp(4, 3))
torch.save(module.state_dict(), "state_dict.pth")
torch.save(module.state_dict(), "legacy.pth", _use_new_zipfile_serialization=False)

# Storage that is not plain: transposed, a view with an offset, a parameter, other types.
tensors = {
    "transposed": ramp(3, 2).t(),
    "view": ramp(4, 2)[1:3],
    "parameter": nn.Parameter(ramp(2)),
    "f64": ramp(2).double(),
    "f16": ramp(2).half(),
    "bf16": ramp(2).bfloat16(),
}
torch.save(tensors, "tensors.pt")

# What the ImageNet example of PyTorch saves, from DataParallel: best_acc1 is a tensor too.
parallel = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
module(ramp(4, 3)).sum().backward()
optimizer.step()
checkpoint = {"epoch": 3, "arch": "mlp", "args": argparse.Namespace(lr=0.1), "best_acc1": torch.tensor(76.1),
              "state_dict": parallel, "optimizer": optimizer.state_dict()}
torch.save(checkpoint, "checkpoint.pth")

# The mlp for 4-pixel images in half precision; its logits are in weights.rs.
mlp = nn.Module()
for i, (inputs, outputs) in enumerate([(48, 50), (50, 30), (30, 2)], 1):
    layer = nn.Linear(inputs, outputs)
    layer.weight.data, layer.bias.data = ramp(outputs, inputs), ramp(outputs)
    setattr(mlp, f"fc{i}", layer)
x = ramp(2, 48).double()
state = {name: tensor.double() for name, tensor in mlp.state_dict().items()}
for i in range(1, 4):
    x = x @ state[f"fc{i}.weight"].T + state[f"fc{i}.bias"]
    x = x.relu() if i < 3 else x
print("mlp logits", x.tolist())
torch.save(mlp.half().state_dict(), "mlp_half.pth")

# Pickles that would run a command.
torch.save(Hostile(), "hostile.pth")
torch.save({"weight": ramp(2), "hostile": Hostile()}, "hostile_entry.pth")

for name in ["resnet18", "resnet50"]:
    state = getattr(torchvision.models, name)().state_dict()
    with open(f"{name}.txt", "w") as file:
        for key in sorted(state):
            file.write(f"{key} {list(state[key].shape)}\n")
