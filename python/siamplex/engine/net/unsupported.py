"""Error texts for layer types that the engine does not run: some stock types, and those of forks."""

from __future__ import annotations

from collections.abc import Sequence

# stock types of Caffe 1.0 that are left out, and why
_STOCK = {
    "Python": "it runs code that a net file names; express it in stock layers, or run this net with Caffe",
    "WindowData": "it cuts R-CNN's windows out of images; write the crops as files for ImageData, or an LMDB for Data",
    "HDF5Output": "it writes what it reads to a file; leave it out and use extract_features on its bottoms",
    "LSTMUnit": "it is a part of LSTM, which Caffe makes itself",
    "Recurrent": "it is what LSTM and RNN are made of, no type of its own",
}

_DISTANCES = (
    "Eltwise (SUM, coeff: 1, coeff: -1), Power (power: 2) and Reduction (SUM, axis: 1) for each squared distance"
)

# types of forks, and the stock layers that replace them
_FORKS = {
    "TripletLoss": (
        f"Slice the batch into anchor, positive and negative, {_DISTANCES}, Eltwise for their difference, "
        "Power (shift: margin), ReLU, and Reduction with loss_weight"
    ),
    "TripletRankingLoss": f"{_DISTANCES}, Eltwise, Power (shift: margin), ReLU, Reduction with loss_weight",
    "RankHardLoss": f"{_DISTANCES}, Eltwise, Power (shift: margin), ReLU, Reduction with loss_weight",
    "EuclideanDistance": _DISTANCES,
    "L1Loss": "Eltwise (SUM, coeff: 1, coeff: -1) and Reduction (ASUM) with loss_weight",
    "SmoothL1Loss": "no stock layers (EuclideanLoss is the nearest)",
    "CosineSimilarity": "Normalize on both, Eltwise (PROD) and Reduction (SUM, axis: 1)",
    "Normalization": "Normalize",
    "L2Normalize": "Normalize",
    "L2Normalization": "Normalize",
    "L2Norm": "Normalize",
    "BN": "BatchNorm followed by Scale (bias_term: true)",
    "Upsample": "Deconvolution with a bilinear weight_filler and lr_mult: 0",
    "Interp": "Deconvolution with a bilinear weight_filler and lr_mult: 0",
    "Axpy": "Scale with two bottoms (axis: 0) and Eltwise (SUM)",
    "ReLU6": "Clip (min: 0, max: 6)",
    "ConvolutionDepthwise": "Convolution with group equal to num_output",
    "DepthwiseConvolution": "Convolution with group equal to num_output",
    "CenterLoss": "Embed for the centres and EuclideanLoss",
    "Permute": "no stock layers; Reshape keeps the order of values",
}


_PLUG_IN = "a plug-in can add it (docs/plugins.md)"


def in_stock_layers(name: str) -> str:
    """The stock layers that replace a fork's layer or a Python layer's class; empty where none are known."""
    plain = name.rpartition(".")[2].replace("_", "").lower().removesuffix("layer")
    found = {fork.lower(): layers for fork, layers in _FORKS.items()}.get(plain)
    return f"; stock layers that express it: {found}" if found else ""


def unsupported(type_name: str, known: Sequence[str], python: str = "") -> str:
    """One line on a type that is not among the ``known``: what it is, its replacement, the known types.

    ``python`` is ``MODULE.CLASS`` of a Python layer.
    """
    listed = f"known: {', '.join(known)}"
    if not type_name:
        return f"type is missing ({listed})"
    if type_name in _STOCK:
        named = type_name == "Python" and python.strip(".")
        plug_in = f"; {_PLUG_IN.replace('it', f'Python.{python}', 1)}" if named else ""
        of = f" ({python.rpartition('.')[2]})" if named else ""
        stock = in_stock_layers(python) if named else ""
        return f"type '{type_name}'{of} is not supported: {_STOCK[type_name]}{stock}{plug_in} ({listed})"
    by_case = {name.lower().replace("_", ""): name for name in known}
    meant = by_case.get(type_name.lower().replace("_", ""))
    if meant:
        return f"type '{type_name}' is not known; '{meant}' is ({listed})"
    hint = in_stock_layers(type_name)
    own = {name.lower(): name for name in _STOCK}.get(type_name.lower())
    if own:
        hint = f" (its own '{own}' is not supported either: {_STOCK[own]})"
    return f"type '{type_name}' is not supported: Caffe 1.0 has no such layer, a fork may{hint}; {_PLUG_IN} ({listed})"
