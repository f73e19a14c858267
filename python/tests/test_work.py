"""Quantizing and what is done with quantized networks: the command's results to the bit; progress and its end."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import clquant as cq
from conftest import SYNTHETIC, run_command


# ---- the command's results ----

def test_ptq_on_arrays_is_the_commands(model, fp32_path, images, images_path, folder, device):
    run_command("ptq", fp32_path, "-i", images_path, "--observer", "mse", "-o", folder / "arrays.onnx")
    int8 = cq.ptq(model, images, observer="mse")
    int8.save(folder / "arrays-py.onnx")
    assert (folder / "arrays.onnx").read_bytes() == (folder / "arrays-py.onnx").read_bytes()
    again = cq.ptq(model, images_path, observer="mse")
    assert np.array_equal(again(images), int8(images))
    verified = run_command("verify", folder / "arrays.onnx", "-i", images_path, "--json")
    result = cq.verify(int8, images)
    assert result.mismatched_codes == 0 and result.compared_codes == verified["compared_codes"]
    assert result.logits_sha256 == verified["logits_sha256"]
    assert result.dot_paths == verified["dot_paths"]


def test_ptq_and_evaluation_of_a_path_are_the_commands(model, fp32_path, folder):
    settings = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    run_command("ptq", fp32_path, "-D", SYNTHETIC, "--images", 40, "--equalize", "--mean", "0.5,0.5,0.5", "--std",
                "0.25,0.25,0.25", "-o", folder / "path.onnx")
    int8 = cq.ptq(model, SYNTHETIC, images=40, equalize=True, prepare=settings, test_images=16)
    int8.save(folder / "path-py.onnx")
    assert (folder / "path.onnx").read_bytes() == (folder / "path-py.onnx").read_bytes()
    assert int8.result.accuracy["images"] == 16
    told = run_command("eval", folder / "path.onnx", "-D", SYNTHETIC, "--json")
    found = cq.evaluate(int8, SYNTHETIC)
    assert found.logits_sha256 == told["logits_sha256"] and found.confusion == told["confusion"]
    assert found.top1 == pytest.approx(told["top1"], rel=1e-8)  # the command writes 9 digits
    told = run_command("verify", folder / "path.onnx", "-D", SYNTHETIC, "-n", 10, "--json")
    assert cq.verify(int8, SYNTHETIC, limit=10).logits_sha256 == told["logits_sha256"]


def test_forms_are_the_commands(model, int8, fp32_path, images, images_path, folder):
    """Written in each form and read again, the network has the same codes, and the file is the command's."""
    for form, opset in (("qdq", 19), ("qoperator", 13), ("qoperator-ort", 17)):
        theirs, ours = folder / f"{form}.onnx", folder / f"{form}-py.onnx"
        run_command("ptq", fp32_path, "-i", images_path, "--onnx-form", form, "--opset", opset, "--test-images", 0, "-o",
                    theirs)
        int8.save(ours, form=form, opset=opset)
        assert theirs.read_bytes() == ours.read_bytes()
        assert np.array_equal(cq.load(ours, device=model.device)(images), int8(images))
    told = run_command("verify", theirs, "-i", images_path, "--json")
    result = cq.verify(cq.load(ours, device=model.device), images)
    assert result.mismatched_codes == 0 and result.logits_sha256 == told["logits_sha256"]
    with pytest.raises(cq.UsageError):
        model.save(folder / "form-py.onnx", form="qoperator")
    with pytest.raises(cq.BadData, match="form"):
        int8.save(folder / "form-py.onnx", form="tflite")


def test_scales_alone(model, int8, images, folder):
    for name, format in (("a.encodings", None), ("a.json", "aimet-1.0.0")):
        int8.save_encodings(folder / name, format=format)
        assert np.array_equal(cq.ptq(model, encodings=folder / name)(images), int8(images))
    int8.save_encodings(folder / "a.table")
    run_command("convert", save(int8, folder / "scales.onnx"), "--encodings-out", folder / "b.table")
    assert (folder / "a.table").read_bytes() == (folder / "b.table").read_bytes()
    with pytest.raises(cq.UsageError, match="aimet-1.0.0"):
        int8.save_encodings(folder / "a.json", format="aimet-9")
    with pytest.raises(cq.UsageError):
        model.save_encodings(folder / "a.json")
    with pytest.raises(cq.NoInput):
        cq.ptq(model, encodings=folder / "none.json")


def save(model, path):
    model.save(path)
    return path


def test_policies(model, images):
    int8 = cq.ptq(model, images, policy=[cq.Rule(layer="first", keep_float=True), cq.Rule(op="conv2d", weights="s4")])
    rules = int8.quantization["recorded"]["policy"]
    assert rules == [{"layer": "first", "float": True}, {"op": "conv2d", "weights": "s4"}]
    first = next(layer for layer in int8.layers if layer["weights"])
    assert first["weights"]["quantized_to"] is None
    one = cq.ptq(model, images, policy=cq.Rule(name="layer1.*", weights="s4"))
    assert one.nbytes < cq.ptq(model, images).nbytes
    with pytest.raises(cq.BadData, match="policy"):
        cq.ptq(model, images, policy=[cq.Rule(weights="s99")])


def test_qat_is_the_commands(model, fp32_path, folder):
    settings = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    run_command("qat", fp32_path, "-D", SYNTHETIC, "--set", "qat.batch=32", "--set", "qat.schedule.lr=0.01", "--epochs",
                2, "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--test-images", 0, "-o", folder / "qat.onnx")
    int8 = cq.qat(model, SYNTHETIC, epochs=2, batch=32, schedule={"lr": 0.01}, prepare=settings)
    int8.save(folder / "qat-py.onnx")
    assert (folder / "qat.onnx").read_bytes() == (folder / "qat-py.onnx").read_bytes()
    assert int8.result.quantization["method"] == "qat"


def test_qat_on_arrays_stops_and_goes_on(model, images, labels, folder):
    options = {"epochs": 2, "batch": 8}
    whole = cq.qat(model, images, labels, **options)
    assert cq.verify(whole, images).mismatched_codes == 0
    assert np.array_equal(cq.qat(model, Loader(images, labels, 7), **options)(images), whole(images))

    def stop(label, *_):
        if label == "qat":
            raise Stop

    try:
        cq.qat(model, images, labels, out=folder / "qat", progress=stop, **options)
    except Stop:
        pass
    with pytest.raises(cq.CannotCreate):
        cq.qat(model, images, labels, out=folder / "qat", **options)
    resumed = cq.qat(model, images, labels, out=folder / "qat", resume=True, **options)
    assert np.array_equal(resumed(images), whole(images))
    unlabelled = cq.qat(model, images, no_labels=True, distill={"teacher": "fp32", "weight": 1}, epochs=1)
    assert cq.verify(unlabelled, images).mismatched_codes == 0
    with pytest.raises(cq.BadData, match="no labels"):
        cq.qat(model, images)


# ---- ways to give data ----

class Loader:
    """As torch's: batches with labels, the number of samples known, new at every pass."""

    def __init__(self, x, y, batch):
        self.dataset, self.y, self.batch, self.passes = x, y, batch, 0

    def __iter__(self):
        self.passes += 1
        for i in range(0, len(self.dataset), self.batch):
            yield self.dataset[i:i + self.batch], self.y[i:i + self.batch]


def test_batches_are_arrays(model, int8, images, labels):
    expected = cq.evaluate(int8, images, labels)
    for data in ((images, labels), Loader(images, labels, 7),
                 Loader(images, labels, 64), [(images[:9], labels[:9]), (images[9:], labels[9:])],
                 ((images[i:i + 5], labels[i:i + 5]) for i in range(0, 40, 5))):
        assert cq.evaluate(int8, data) == expected
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    assert cq.evaluate(int8, last, labels, order="nhwc") == expected
    assert np.array_equal(cq.ptq(model, Loader(images, labels, 7), images=16)(images),
                          cq.ptq(model, images[:16])(images))
    assert cq.verify(int8, Loader(images, labels, 7)).mismatched_codes == 0


def test_a_loader_that_fills_the_same_memory_again(model, int8, images, labels):
    class Same(Loader):
        def __iter__(self):
            x, y = np.empty_like(images[:8]), np.empty_like(labels[:8])
            for i in range(0, 40, 8):
                x[:], y[:] = images[i:i + 8], labels[i:i + 8]
                yield x, y

    assert cq.evaluate(int8, Same(images, labels, 8), batch=12) == cq.evaluate(int8, images, labels, batch=12)
    assert np.array_equal(cq.ptq(model, iter(Same(images, labels, 8)))(images), int8(images))


def test_torch_loaders(model, int8, images, labels):
    torch = pytest.importorskip("torch")
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    loader = torch.utils.data.DataLoader
    some = torch.utils.data.SequentialSampler(range(24))
    for loading, count in ((loader(dataset, 7), 40), (loader(dataset, 7, drop_last=True), 35),
                           (loader(dataset, 7, sampler=some), 24), (loader(dataset, 7, num_workers=2), 40),
                           (loader(dataset, batch_sampler=[[0, 1], [2, 3, 4]]), 5)):
        assert cq.evaluate(int8, loading) == cq.evaluate(int8, images[:count], labels[:count])
    assert np.array_equal(cq.ptq(model, loader(dataset, 7))(images), int8(images))
    half = torch.from_numpy(images).bfloat16()
    assert np.array_equal(int8(half), int8(half.float().numpy()))


def test_analysis_and_times(model, int8, images, labels):
    analysis = cq.analyze(model, int8, images, labels, limit=16)
    assert isinstance(analysis[0], dict) and "histogram" not in analysis[0] and analysis[0]["error_only"] >= 0
    assert [rung["stage"] for rung in analysis.ladder][0] == "fp32" and analysis.advice
    assert analysis.result.images == 16
    times = cq.bench([model, int8], batch=[1, 4], iterations=2)
    assert [one.batch for one in times] == [1, 4, 1, 4]
    assert all(one.latency_ms["median"] > 0 for one in times)
    with pytest.raises(AttributeError, match="latency_ms"):
        times[0].latency


# ---- what is refused ----

@pytest.mark.parametrize("call, error", [
    (lambda m, x, y: cq.evaluate(m, x), cq.BadData),
    (lambda m, x, y: cq.evaluate(m, x, y[:-1]), cq.UsageError),
    (lambda m, x, y: cq.evaluate(m, x, y + 100), cq.BadData),
    (lambda m, x, y: cq.evaluate(m, x, y.astype(str)), TypeError),
    (lambda m, x, y: cq.evaluate(m, "nothing here"), cq.NoInput),
    (lambda m, x, y: cq.evaluate(m, SYNTHETIC, y), cq.UsageError),
    (lambda m, x, y: cq.evaluate(m, x, y, splot="test"), cq.BadData),
    (lambda m, x, y: cq.verify(m, x), cq.UsageError),
    (lambda m, x, y: cq.ptq(m, x, observer="best"), cq.BadData),
    (lambda m, x, y: cq.ptq(m, x, images=0), cq.BadData),
    (lambda m, x, y: cq.ptq(m, x, images=float("nan")), ValueError),
    (lambda m, x, y: cq.ptq(m, x, order="sideways"), ValueError),
    (lambda m, x, y: cq.ptq(m, x, prepare={"interpolation": "linear"}), cq.BadData),
    (lambda m, x, y: cq.ptq(m, 5), TypeError),
    (lambda m, x, y: cq.ptq(m, []), cq.UsageError),
    (lambda m, x, y: cq.ptq(m, None), TypeError),
    (lambda m, x, y: cq.ptq(m, x, policy=[object()]), TypeError),
    (lambda m, x, y: cq.ptq(m, np.full_like(x, np.nan)), cq.BadData),
    (lambda m, x, y: cq.ptq(m, x, images=10 ** 30), cq.BadData),
    (lambda m, x, y: cq.ptq("m.onnx", x), TypeError),
    (lambda m, x, y: cq.analyze(m, "int8.onnx", x), TypeError),
    (lambda m, x, y: cq.bench([m, None]), TypeError),
    (lambda m, x, y: m(np.ma.masked_array(x, mask=x > 0)), TypeError),
    (lambda m, x, y: m.expect(2 ** 64), cq.UsageError),
    (lambda m, x, y: cq.bench([]), cq.UsageError),
    (lambda m, x, y: cq.bench(m, batch=0), cq.BadData),
])
def test_refused(model, images, labels, call, error):
    with pytest.raises(error):
        call(model, images, labels)


# ---- progress, and its end ----

def test_progress_is_told(model, images):
    calls = []
    cq.ptq(model, images, adaround=1, progress=lambda *state: calls.append(state))
    assert {"calibrate", "adaround"} <= {label for label, *_ in calls}
    assert all(done <= total for _, done, total, _, _ in calls)


class Stop(Exception):
    pass


def raise_stop(*_):
    raise Stop


def test_what_callbacks_raise_comes_out(model, int8, images, labels):
    with pytest.raises(Stop):
        cq.ptq(model, images, equalize=True, progress=raise_stop)

    class Failing(Loader):
        def __iter__(self):
            yield self.dataset[:4], self.y[:4]
            raise Stop

    with pytest.raises(Stop):
        cq.evaluate(int8, Failing(images, labels, 4))

    class Short(Loader):
        def __iter__(self):
            yield self.dataset[:4], self.y[:4]

    with pytest.raises(cq.UsageError, match="fewer samples"):
        cq.evaluate(int8, Short(images, labels, 4))

    class Wrong(Loader):
        def __iter__(self):
            yield self.dataset[:4], self.y[:4]
            yield self.dataset[:4, :, :3], self.y[:4]

    with pytest.raises(ValueError):
        cq.evaluate(int8, Wrong(images, labels, 4))

    class More(Loader):
        def __iter__(self):
            for _ in range(2):
                yield self.dataset, self.y

    with pytest.raises(cq.UsageError, match="more samples"):
        cq.evaluate(int8, More(images, labels, 40))

    def stop_late(label, done, total, *_):
        if done == total:
            raise Stop

    with pytest.raises(Stop):
        cq.evaluate(int8, images, labels, progress=stop_late)
    assert cq.verify(int8, images).mismatched_codes == 0  # nothing is left of it


def test_a_model_within_a_callback(model, int8, images, labels):
    """The loader runs another network, on the same device, while the library waits for it."""
    expected = cq.evaluate(int8, images, labels)

    class Running(Loader):
        def __iter__(self):
            for x, y in super().__iter__():
                model(x)
                cq.verify(int8, x, progress=lambda *_: None)
                yield x, y

    assert cq.evaluate(int8, Running(images, labels, 8)) == expected


def test_closing_within_a_callback(fp32_path, images):
    network = cq.load(fp32_path, device=cq.Device("cpu"))

    def close(*_):
        network.close()
        network.device.close()

    int8 = cq.ptq(network, images, progress=close)
    assert int8(images).shape == (40, 10)
    with pytest.raises(cq.UsageError, match="closed"):
        network(images)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals need the main thread")
@pytest.mark.parametrize("job", [lambda m, x: cq.ptq(m, x, adaround=2000),
                                 lambda m, x: cq.bench(m, iterations=20000, peak=False)])
def test_ctrl_c(model, images, job):
    def press():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(1000):
            job(model, images)
    thread.join()
    assert cq.ptq(model, images).form == "integer"
