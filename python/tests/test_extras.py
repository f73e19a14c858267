"""What the package does with others that need not be there: bars by tqdm, pictures by matplotlib, tables of pandas."""

import sys

import pytest

import clquant as cq
from clquant.progress import _Bars


def show(bars):
    for done, total in ((10, 40), (30, 40), (40, 40)):
        bars.show("calibrate", done, total, "images", "loss 0.5", done == total)
    bars.show("evaluate", 5, 0, "rows", "", False)
    bars.show("short", 40, 40, "images", "", True)
    bars.close()


def test_bars_of_tqdm(model, images, capsys):
    pytest.importorskip("tqdm")
    show(_Bars())
    shown = capsys.readouterr().err
    assert "calibrate" in shown and "0/40" in shown and "images/s" in shown and "evaluate" in shown
    assert cq.ptq(model, images, adaround=20, progress=True).form == "integer"


def test_a_line_without_tqdm(model, images, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    show(_Bars())
    assert "\r\033[Kcalibrate 10/40 images  loss 0.5" in capsys.readouterr().err
    assert cq.ptq(model, images, adaround=20, progress=True).form == "integer"
    capsys.readouterr()
    cq.ptq(model, images)  # no terminal: nothing is shown
    cq.ptq(model, images, progress=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", None)
    cq.ptq(model, images)
    show(_Bars())


def test_pictures(model, int8, images, labels):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    analysis = cq.analyze(model, int8, images, labels, limit=8)
    axes = analysis.plot()
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        layer["name"] for layer in sorted(analysis, key=lambda layer: layer["place"])]
    found = cq.evaluate(int8, images, labels)
    assert cq.plot_confusion(found, axes=pyplot.subplots()[1]).get_images()[0].get_array().shape == (10, 10)
    pyplot.close("all")


def test_tables(model, int8, images, labels):
    pandas = pytest.importorskip("pandas")
    analysis = pandas.DataFrame(cq.analyze(model, int8, images, labels, limit=8))
    assert {"name", "error_only"} <= set(analysis.columns) and analysis.error_only.max() > 0
    assert pandas.DataFrame(int8.layers).parameters.sum() == int8.info["parameters"]
