"""Loading, running and dropping networks."""

import copy
import gc
import os
import pickle
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import clquant as cq
from conftest import CLASSES, SIZE, run_command


def test_outputs_are_the_commands(fp32_path, model, images, images_path, folder):
    run_command("predict", fp32_path, "-i", images_path, "-o", folder / "y.npy")
    assert np.array_equal(model(images), np.load(folder / "y.npy"))


def test_orders_and_memory(model, images):
    expected = model(images)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    assert np.array_equal(model(last, order="nhwc"), expected)
    assert np.array_equal(model(last.transpose(0, 3, 1, 2)), expected)  # (N, C, H, W) that lies channels last
    assert np.array_equal(model(np.asfortranarray(images)), expected)
    assert np.array_equal(model(images[::-1])[::-1], expected)
    assert np.array_equal(model(images[:1]), expected[:1]) or np.allclose(model(images[:1]), expected[:1], atol=1e-5)
    assert model(images[:0]).shape == (0, CLASSES)
    assert np.array_equal(model(images.astype(">f4")), expected)
    assert np.array_equal(model(images.astype(np.float64)), expected)
    half = images.astype(np.float16)
    assert np.array_equal(model(half), model(half.astype(np.float32)))
    assert np.array_equal(model({"input": images}), expected) if model.inputs[0].name == "input" else True


def test_what_a_network_says_of_itself(model, int8, folder):
    assert model.inputs[0].shape == (3, SIZE, SIZE) and model.outputs[0].shape == (CLASSES,)
    assert model.form == "trained" and model.quantization is None
    assert int8.form == "integer" and int8.quantization["recorded"]["method"] == "ptq"
    assert int8.nbytes < model.nbytes
    assert {"name", "op", "weights"} <= set(int8.layers[0])
    html = int8._repr_html_()
    assert "<table>" in html and int8.layers[0]["name"] in html
    assert "integer" in repr(int8)


def test_expecting_many_runs_changes_no_result(int8, images, folder, device):
    int8.save(folder / "often.onnx")
    often = cq.load(folder / "often.onnx", device=device)
    often.expect(100000)
    assert np.array_equal(often(images[:2]), int8(images[:2]))
    with pytest.raises(cq.UsageError):
        often.expect(-1)


def test_saved_and_loaded_again(int8, images, folder, device):
    for name in ("int8.onnx", "größe 量化.onnx", b"bytes.onnx"):
        path = os.path.join(os.fsencode(folder), name) if isinstance(name, bytes) else folder / name
        int8.save(path)
        assert np.array_equal(cq.load(path, device=device)(images), int8(images))
    assert np.array_equal(cq.from_onnx((folder / "int8.onnx").read_bytes(), device=device)(images), int8(images))


def test_dead_objects(fp32_path, images):
    device = cq.Device("cpu")
    model = cq.load(fp32_path, device=device)
    device.close()
    device.close()
    assert model(images[:2]).shape == (2, CLASSES)  # the device lives as long as its models
    for call in (lambda: cq.load(fp32_path, device=device), lambda: device.info):
        with pytest.raises(cq.UsageError, match="closed"):
            call()
    model.close()
    model.close()
    for call in (lambda: model(images), lambda: model.save("x.onnx"), lambda: cq.ptq(model, images),
                 lambda: cq.bench(model), lambda: cq.verify(model, images)):
        with pytest.raises(cq.UsageError, match="closed"):
            call()
    assert "closed" in repr(model) and "closed" in repr(device)
    with cq.Device("cpu") as device, cq.load(fp32_path, device=device) as model:
        for call in (copy.copy, copy.deepcopy, pickle.dumps):
            for thing in (model, device):
                with pytest.raises(TypeError, match="copied"):
                    call(thing)
        assert model(images[:2]).shape == (2, CLASSES)
    assert "closed" in repr(model) and "closed" in repr(device)


def test_errors_name_what_is_wrong(fp32_path, folder, device):
    with pytest.raises(cq.NoInput, match="nothing.onnx"):
        cq.load("nothing.onnx", device=device)
    with pytest.raises(FileNotFoundError):
        cq.load("nothing.onnx", device=device)
    (folder / "bad.onnx").write_bytes(b"\x08\x07not a model")
    with pytest.raises(cq.BadData):
        cq.load(folder / "bad.onnx", device=device)
    with pytest.raises(cq.BadData):
        cq.from_onnx(b"\xff" * 40, device=device)
    with pytest.raises(cq.DeviceError, match="no such device"):
        cq.Device("no such device")
    with pytest.raises(cq.UsageError, match="nonsense"):
        cq.load(fp32_path, device=device, shapes={"nonsense": (1, 3, 8, 8)})
    with pytest.raises(cq.UsageError):
        cq.load(fp32_path, device=device, shapes={"input": range(9)})
    for wrong in ("m.onnx", 5, None):
        with pytest.raises(TypeError, match="ModelProto"):
            cq.from_onnx(wrong, device=device)
    with pytest.raises(TypeError, match="selector"):
        cq.Device(0)
    with pytest.raises(cq.UsageError, match="zero bytes"):
        cq.load("a\0b.onnx", device=device)
    with pytest.raises(cq.CannotCreate):
        cq.load(fp32_path, device=device).save(folder / "no folder" / "m.onnx")
    with pytest.raises(TypeError, match=r"device must be a clquant.Device, such as Device\(\"cpu\"\), is str"):
        cq.load(fp32_path, device="cpu")


def test_dropped_while_another_thread_works(fp32_path, images):
    """Nothing waits for the other's work, and nothing is left when the device is used again."""
    device = cq.Device("cpu")
    network, dropped = cq.load(fp32_path, device=device), cq.load(fp32_path, device=device)
    begun, go_on = threading.Event(), threading.Event()

    def wait(*_):
        begun.set()
        go_on.wait(60)

    thread = threading.Thread(target=cq.ptq, args=(network, images), kwargs={"progress": wait})
    thread.start()
    assert begun.wait(60)
    del dropped
    gc.collect()
    assert len(device._unused) == 1
    go_on.set()
    thread.join()
    assert not device._unused


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_told(int8, images):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        words = []
        for call in (lambda: int8(images), cq.devices, lambda: cq.Device("cpu"), int8.close):
            try:
                call()
            except cq.UsageError as error:
                words.append("fork" in str(error))
        os.write(write, repr(words).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 1000) == b"[True, True, True, True]"
    assert int8(images[:1]).shape == (1, CLASSES)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is not told here")
def test_a_thousand_networks_leave_nothing(fp32_path, device):
    data = fp32_path.read_bytes()
    for _ in range(100):
        cq.from_onnx(data, device=device)
    gc.collect()
    before = resident()
    for _ in range(1000):
        cq.from_onnx(data, device=device)
    gc.collect()
    assert resident() - before < 8 << 20  # each has 1 MB of parameters


def test_two_threads_with_a_device_each(fp32_path, model, int8, images, folder):
    int8.save(folder / "threads.onnx")
    expected = {fp32_path: model(images), folder / "threads.onnx": int8(images)}
    failures = []

    def work(path):
        try:
            device = cq.Device("cpu")
            for _ in range(3):
                network = cq.load(path, device=device)
                for _ in range(20):
                    if not np.array_equal(network(images), expected[path]):
                        raise AssertionError(f"{path}: other numbers")
                if network.form == "trained":
                    made = cq.ptq(network, images)
                    if not np.array_equal(made(images), int8(images)):
                        raise AssertionError("another quantized network")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(path,)) for path in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_one_device_from_many_threads(int8, images):
    expected = int8(images)
    failures = []

    def work():
        for _ in range(20):
            if not np.array_equal(int8(images), expected):
                failures.append("other numbers")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_call_costs_little(int8, images, monkeypatch):
    """Without the device's work: microseconds of Python. The least of many, as machines are busy."""
    x = images[:1].copy()
    int8(x)
    monkeypatch.setattr("clquant.model.lib", SimpleNamespace(clq_session_run=lambda *_: 0))
    least = float("inf")
    for _ in range(3000):
        start = time.perf_counter()
        int8(x)
        least = min(least, time.perf_counter() - start)
    assert least < 20e-6
