"""Weights spread over several processes, for a model that does not fit one device: PyTorch's FSDP2 (docs/engine.md).

Embeddings, head and last norm stay whole everywhere, because the logits of codes take single rows of the head; their
gradients are averaged here. All processes must call a sharded model equally often.
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from conrec import processes


def layers_of(decoder: nn.Module) -> nn.ModuleList:
    """The layers of a decoder: the longest list of modules in it."""
    return max((module for module in decoder.modules() if isinstance(module, nn.ModuleList)), key=len)


def shard_layers(decoder: nn.Module, device: torch.device) -> None:
    """Spread the layers of a decoder over all processes, on this kind of device."""
    layers = layers_of(decoder)
    mesh = init_device_mesh(device.type, (processes.count(),))
    rest = set(decoder.parameters()) - set(layers.parameters())
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(decoder, mesh=mesh, reshard_after_forward=True, ignored_params=rest)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor of which each process may hold a share; each must call it."""
    full: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full


def shared_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor, spread as a parameter of its shape is."""
    if not isinstance(parameter, DTensor):
        return tensor.to(parameter.device)
    return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)


@torch.no_grad()
def finish_gradients(parameters: list[nn.Parameter], largest: float) -> float:
    """Average the gradients of what is not sharded over the processes, and scale all down to a norm of `largest` at
    most; the norm before."""
    of_shares, of_others = torch.zeros((), device=parameters[0].device), 0.0
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if isinstance(parameter.grad, DTensor):
            of_shares += parameter.grad.to_local().float().square().sum()
        else:
            dist.all_reduce(parameter.grad)
            parameter.grad /= processes.count()
            of_others += float(parameter.grad.float().square().sum())
    dist.all_reduce(of_shares)
    norm = math.sqrt(float(of_shares) + of_others)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad *= min(1.0, largest / (norm + 1e-6))
    return norm
