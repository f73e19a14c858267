"""Pictures, where matplotlib is installed."""

from __future__ import annotations

from typing import Any, Mapping, Sequence


def _axes(axes: Any, rows: int = 0) -> Any:
    """New ones, with room for so many rows of text, where none are given."""
    if axes is not None:
        return axes
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(6.4, max(4.8, 0.19 * rows)), constrained_layout=True)[1]


def plot_layers(layers: Sequence[Mapping[str, Any]], axes: Any = None) -> Any:
    """Bars of each layer's error (% of the outputs) when it alone is quantized, in the order of the network."""
    axes = _axes(axes, len(layers))
    ordered = sorted(layers, key=lambda layer: layer["place"])
    axes.barh([layer["name"] for layer in ordered], [100 * (layer["error_only"] or 0) for layer in ordered])
    axes.invert_yaxis()
    axes.set_xlabel("error of the outputs, quantized alone (%)")
    return axes


def plot_confusion(evaluation: Mapping[str, Any], axes: Any = None) -> Any:
    """The confusion matrix of :func:`evaluate`: rows are labels, columns predictions."""
    axes = _axes(axes)
    axes.imshow(evaluation["confusion"])
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    return axes
