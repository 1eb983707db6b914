"""Uploads that are made to be attacked: one plain step on few images, through the same hooks, never aggregated."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.task import Task, Trained
from priprune_plugins.facts import Batch, Facts
from priprune_plugins.generators import seeded_globals


def probe_facts(facts: Facts, images: int) -> Facts:
    """Return the public facts of a probe of ``images`` images."""
    return replace(facts, batch_size=images, local_steps=1, epochs=None)


def probe(side: ClientSide, model: nn.Module, task: Task, loader: Iterable[Batch], images: int) -> Trained:
    """Return what a client would upload after one step of plain gradient descent on ``images`` of its images.

    Model, plugins' memories and global generators are as found afterwards.

    Args:
        side: The client's side.
        model: Holds the broadcast.
        task: What the client is asked for.
        loader: Its batches; the first images of the first one are taken.
        images: How many.
    """
    facts, device = probe_facts(side.setting.facts, images), next(model.parameters()).device
    stream = ("audit", task.round_idx, task.client_id, "training")
    with seeded_globals(side.setting.seed, *stream), _as_found(model), _generator_as_found(loader):
        drawn, labels = next(iter(loader))
        batch = (drawn[:images].to(device), labels[:images].to(device).long())
        asked = replace(task, num_steps=1, facts=facts)
        visit = side.begin(model, asked, [batch], "audit", side.states.fork(task.client_id))
        with visit.steps():
            _step(model, visit.batches, facts.lr)
        return visit.finish()


def _step(model: nn.Module, batches: Iterable[Batch], lr: float) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@contextmanager
def _as_found(model: nn.Module) -> Iterator[None]:
    tensors = [*model.parameters(), *model.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    grads = [parameter.grad for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    for parameter in model.parameters():
        parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            parameter.grad = grad
        for module, mode in zip(model.modules(), modes, strict=True):
            module.training = mode


@contextmanager
def _generator_as_found(loader: object) -> Iterator[None]:
    own = getattr(loader, "generator", None)
    state = own.get_state() if isinstance(own, torch.Generator) else None
    yield
    if state is not None and isinstance(own, torch.Generator):
        own.set_state(state)
