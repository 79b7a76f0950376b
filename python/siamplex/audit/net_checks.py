"""Checks of the twin towers and the loss, from the prototxt a stage was trained with."""

from __future__ import annotations

from typing import Any

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.towers import Twins, of_type, read_twins
from siamplex.schema.prototxt import Prototxt

_GROUPS = "96 input channels make 5x5x96 kernels; AlexNet, whose weights are used, has two groups of 5x5x48"


_BATCH = {
    1: "5 GPU hours for 5000 iterations speak for a large one; with 32 pairs the noise of the dropout masks wins, with "
    "128 controlled photographs come apart, with 256 harder faces too",
    2: "with 32 pairs validation loss rises on photographs, with 128 it falls; with fewer than stage 1 had, the noise "
    "of the dropout masks takes back some of what stage 1 learnt",
}


def check_net(net: Prototxt, stage: int) -> list[Finding]:
    """Compare a train_val net with the paper's architecture.  Raises PrototxtError without twins."""
    found = Findings(f"net of stage {stage}")
    twins = read_twins(net)
    _sharing(found, twins)
    _convolutions(found, twins.first)
    _between(found, twins.first)
    _dense(found, twins.first)
    _loss(found, twins)
    found.silent("pairs a batch", int(twins.data.data_param.batch_size), _BATCH[stage])
    _new_rates(found, twins.first)
    return found.made


def _sharing(found: Findings, twins: Twins) -> None:
    why = ""
    if len(twins.first) != len(twins.second):
        why = f"{len(twins.first)} and {len(twins.second)} layers"
    for a, b in zip(twins.first, twins.second, strict=False):
        names = [[p.name for p in layer.param] for layer in (a, b)]
        if a.type != b.type or _settings(a) != _settings(b):
            why = why or f"{a.name} and {b.name} are not alike"
        elif a.type in ("Convolution", "InnerProduct") and (names[0] != names[1] or not all(names[0]) or not names[0]):
            why = why or f"{a.name} and {b.name} have weights of their own"
    found.stated("twin towers", "two towers that share all weights", why or "shared by name", not why)


def _settings(layer: Any) -> str:
    """What a layer computes: its own parameters, without fillers (the owner's count)."""
    texts = []
    for descriptor, value in layer.ListFields():
        if descriptor.name.endswith("_param") and descriptor.name != "include":
            copy = type(value)()
            copy.CopyFrom(value)
            for filler in ("weight_filler", "bias_filler"):
                if filler in copy.DESCRIPTOR.fields_by_name:
                    copy.ClearField(filler)
            texts.append(f"{descriptor.name} {copy}")
    return "\n".join(texts)


def _convolutions(found: Findings, tower: list[Any]) -> None:
    layers = of_type(tower, "Convolution")
    if len(layers) != len(paper.CONVOLUTIONS):
        found.stated("convolutions", "3", len(layers))
    for layer, (name, (outputs, kernel, stride)) in zip(layers, paper.CONVOLUTIONS.items(), strict=False):
        p = layer.convolution_param
        has = (int(p.num_output), *(int(v[0]) if v else d for v, d in ((p.kernel_size, 0), (p.stride, 1))))
        found.stated(name, f"{outputs} kernels {kernel}x{kernel}, stride {stride}",
                     f"{has[0]} kernels {has[1]}x{has[1]}, stride {has[2]}")  # fmt: skip
    if len(layers) > 1:
        group = int(layers[1].convolution_param.group)
        depth = {1: "5x5x96", 2: "5x5x48, two groups"}.get(group, f"{group} groups")
        found.inconsistent("depth of conv2's kernels", "5x5x96, with AlexNet's weights", depth, _GROUPS)


def _between(found: Findings, tower: list[Any]) -> None:
    """What follows each convolution."""
    words, at = [], [i for i, layer in enumerate(tower) if layer.type in ("Convolution", "InnerProduct")]
    for start, end in zip(at, [*at[1:], len(tower)], strict=True):
        words.append([layer.type for layer in tower[start + 1 : end]])
    names = list(paper.CONVOLUTIONS)
    for name, after, wanted in zip(names, words, (["ReLU", "LRN", "Pooling"],) * 2, strict=False):
        found.stated(f"after {name}", "ReLU, LRN, pooling", ", ".join(after) or "nothing", after == wanted)
    if len(words) > 2:
        found.stated("activation of conv3", "ReLU", words[2][0] if words[2] else "none")
        extra = ", ".join(words[2][1:]) or "none"
        found.silent("pooling after conv3", extra, "fc4 sees 384x13x13 without one, 384x6x6 with AlexNet's third")
    lrn = of_type(tower, "LRN")
    if lrn:
        p = lrn[0].lrn_param
        found.silent("LRN", f"{int(p.local_size)} channels, alpha {p.alpha:g}, beta {p.beta:g}, k {p.k:g}",
                     "AlexNet's own are 5, 0.0001, 0.75, 1")  # fmt: skip
    pools = of_type(tower, "Pooling")
    if pools:
        p = pools[0].pooling_param
        found.silent("pooling", f"{'max' if p.pool == 0 else 'average'} {int(p.kernel_size)}x{int(p.kernel_size)}, "
                     f"stride {int(p.stride)}", "AlexNet's is max 3x3, stride 2")  # fmt: skip


def _dense(found: Findings, tower: list[Any]) -> None:
    layers = of_type(tower, "InnerProduct")
    if len(layers) != len(paper.UNITS):
        found.stated("fully connected layers", len(paper.UNITS), len(layers))
    for layer, (name, units) in zip(layers, paper.UNITS.items(), strict=False):
        found.stated(name, f"{units} units", f"{int(layer.inner_product_param.num_output)} units")
    at = [i for i, layer in enumerate(tower) if layer.type == "InnerProduct"]
    after = [[layer.type for layer in tower[a + 1 : b]] for a, b in zip(at, [*at[1:], len(tower)], strict=True)]
    for name, types in zip(("fc4", "fc5"), after, strict=False):
        found.stated(f"after {name}", "ReLU, dropout", ", ".join(types) or "nothing", types == ["ReLU", "Dropout"])
    if after:
        found.stated("fc6, the embedding", "linear", "linear" if not after[-1] else ", ".join(after[-1]))
    ratios = sorted({f"{layer.dropout_param.dropout_ratio:g}" for layer in of_type(tower, "Dropout")})
    found.silent("dropout ratio", ", ".join(ratios) or "no dropout", "Caffe's and AlexNet's is 0.5")
    kinds = sorted({layer.inner_product_param.weight_filler.type for layer in layers})
    found.stated("new layers start from", "xavier", ", ".join(kinds))


def _new_rates(found: Findings, tower: list[Any]) -> None:
    """lr_mult of fc4-6, weights and biases."""
    layers = of_type(tower, "InnerProduct")
    weights = sorted({layer.param[0].lr_mult if layer.param else 1.0 for layer in layers})
    biases = sorted({layer.param[1].lr_mult if len(layer.param) > 1 else 1.0 for layer in layers})
    words = [", ".join(f"{rate:g}" for rate in rates) for rates in (weights, biases)]
    found.silent("rates of the new layers", f"weights x {words[0]}, biases x {words[1]}",
                 "base_lr for all is the least that can be assumed; ten times that leaves few units active and "
                 "puts the emotions on a line")  # fmt: skip


def _loss(found: Findings, twins: Twins) -> None:
    p = twins.loss.contrastive_loss_param
    kind = "contrastive, legacy form" if p.legacy_version else "contrastive"
    found.stated("loss", "contrastive", kind)
    found.stated("margin", f"{paper.MARGIN:g}", f"{p.margin:g}")
    direct = [layer.type for layer in twins.label] == ["Data"]
    passed = ", ".join(layer.name for layer in twins.label[1:])
    found.stated("label reaches the loss", "as stored", "as stored" if direct else f"through {passed}", direct)
