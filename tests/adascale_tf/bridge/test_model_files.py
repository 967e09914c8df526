"""Files of Keras models from outside: what is no stock layer is refused before Keras sees it, and so are bombs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_tf.bridge import model_files, port

FORMS = pytest.mark.parametrize(
    "library, suffix",
    [(keras, ".keras"), (keras, ".h5"), (tf_keras, ".keras"), (tf_keras, ".h5"), (tf_keras, "")],
    ids=["keras3", "keras3-h5", "keras2", "keras2-h5", "keras2-saved"],
)


def small(library: Any, *between: Any) -> Any:
    """A classifier of four numbers, with other layers before its end."""
    image = library.layers.Input((4,))
    x = library.layers.Dense(6, activation="relu", kernel_regularizer="l2")(image)
    for layer in between:
        x = layer(x)
    return library.Model(image, library.layers.Dense(2, name="end")(x), name="small")


def saved(model: Any, path: Path) -> Path:
    model.save(path, **({} if path.suffix else {"save_format": "tf"}))
    return path


def with_config(path: Path, change: Callable[[Any], Any]) -> Path:
    """The file with its model's configuration changed."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
        return path
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
    return zipped(path, members)


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@FORMS
def test_code_in_files_is_not_executed(library: Any, suffix: str, tmp_path: Path) -> None:
    layers = library.layers
    trace = tmp_path / "executed"
    # The path as a literal: only the bytecode of a lambda is stored, not what it closes over.
    code = eval(f"lambda x: (open({str(trace)!r}, 'w').close(), x * 2)[1]")
    image = layers.Input((4,))
    model = library.Model(image, layers.Dense(2)(layers.Lambda(code, output_shape=(4,), name="odd")(image)))
    path = tmp_path / f"model{suffix}"
    model.save(path, **({} if suffix else {"save_format": "tf"}))
    trace.unlink(missing_ok=True)  # Keras 2 ran it to build the model
    with pytest.raises(BadInput, match="Lambda"):
        port.load(path)
    assert not trace.exists()


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_safe_scope_alone_stops_code_too(library: Any, suffix: str, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    code = eval(f"lambda x: (open({str(trace)!r}, 'w').close(), x * 2)[1]")
    path = saved(small(library, library.layers.Lambda(code, output_shape=(6,))), tmp_path / f"model{suffix}")
    trace.unlink(missing_ok=True)
    with model_files._safe(library is keras), pytest.raises(Exception, match=r"(?i)lambda"):
        library.models.load_model(path, compile=False)
    assert not trace.exists()


@FORMS
def test_plain_files_open_as_they_were(library: Any, suffix: str, tmp_path: Path) -> None:
    original = small(library)
    opened = model_files.opened(saved(original, tmp_path / f"model{suffix}"))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(opened(x)), np.asarray(original(x)), atol=1e-6)


def test_the_graph_of_a_saved_model_is_never_read(tmp_path: Path) -> None:
    path = saved(small(tf_keras), tmp_path / "saved")
    (path / "saved_model.pb").write_bytes(b"code")
    assert port.load(path).output_shape == (None, 2)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("symbol", ["io.gfile.rmtree", "io.write_file", "keras.utils.get_file", "py_function"])
def test_functions_of_tensorflow_that_act_are_refused(suffix: str, symbol: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    layer = {"class_name": "TFOpLambda", "name": "odd", "config": {"name": "odd", "function": symbol}}
    layer["inbound_nodes"] = [["_CONSTANT_VALUE", -1, str(victim), {}]]

    def change(config: Any) -> Any:
        config["config"]["layers"].insert(1, layer)
        return config

    path = with_config(saved(small(tf_keras), tmp_path / f"model{suffix}"), change)
    with pytest.raises(BadInput, match=f"Operation 'odd' \\({symbol}\\) cannot be converted to Keras 2"):
        port.load(path)
    assert victim.is_dir()


@pytest.mark.parametrize(
    "stranger",
    [
        {"module": "os", "class_name": "system", "config": {"command": "true"}},
        {"module": "builtins", "class_name": "function", "config": "exec"},
        {"module": "keras.src.saving", "class_name": "function", "config": "load_model"},
        {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASV"}},
    ],
    ids=["system", "exec", "loader", "lambda", "torch"],
)
@pytest.mark.parametrize("where", ["activation", "kernel_initializer", "inbound_nodes"])
def test_strange_parts_of_layers_are_refused(stranger: dict[str, Any], where: str, tmp_path: Path) -> None:
    def change(config: Any) -> Any:
        layer = config["config"]["layers"][1]
        (layer if where == "inbound_nodes" else layer["config"])[where] = stranger
        return config

    path = with_config(saved(small(keras), tmp_path / "model.keras"), change)
    with pytest.raises(BadInput, match="which cannot be converted to Keras 2"):
        port.load(path)


@FORMS
def test_custom_layers_are_named_in_a_whole_sentence(library: Any, suffix: str, tmp_path: Path) -> None:
    class Gate(library.layers.Layer):  # type: ignore[name-defined,misc]
        def call(self, x: Any) -> Any:
            return x * x

    path = saved(small(library, Gate(name="my_gate")), tmp_path / f"model{suffix}")
    with pytest.raises(BadInput) as caught:
        port.load(path)
    assert str(caught.value).startswith(
        "Layer 'my_gate' is a Gate, which cannot be converted to Keras 2; replace it with stock"
    )
    assert str(caught.value).endswith("or end the model before it.")


def test_models_of_their_own_class_are_named(tmp_path: Path) -> None:
    class Mine(tf_keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    model = Mine(name="mine")
    model(np.zeros((1, 4), np.float32))
    model.save(tmp_path / "saved", save_format="tf")
    with pytest.raises(BadInput, match=r"'mine' in .* has no graph of layers"):
        port.load(tmp_path / "saved")


def test_large_configurations_are_refused_unread(tmp_path: Path) -> None:
    path = saved(small(keras), tmp_path / "bomb.keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    zipped(path, {**members, "config.json": b" " * (model_files.MOST_CONFIG + 1)})
    assert path.stat().st_size < 100_000
    with pytest.raises(BadInput, match="describes its layers in 17 MB"):
        port.load(path)
    zipped(path, {**members, "config.json": b"[" * 100_000})
    with pytest.raises(BadInput, match="not a complete Keras file"):
        port.load(path)
    zipped(path, {"config.json": members["config.json"], "metadata.json": members["metadata.json"]})
    with pytest.raises(BadInput, match=r"has no model\.weights.h5"):
        port.load(path)
    with archives.limit(1000), pytest.raises(BadInput, match="--max-gb"):
        port.load(saved(small(keras), tmp_path / "usual.keras"))


def hdf5(path: Path, spoil: Callable[[h5py.File], Any]) -> Path:
    """A whole .h5 model with something else in it."""
    saved(small(keras), path)
    with h5py.File(path, "r+") as file:
        spoil(file)
    return path


def test_hdf5_files_that_declare_too_much_are_refused(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", lambda f: f.create_dataset("big", (1 << 20, 1 << 20), "f4", chunks=(64, 64)))
    with pytest.raises(BadInput, match=r"unpacks to 4398\.0 GB"):
        port.load(path)
    inner = saved(small(keras), tmp_path / "b.keras")
    with zipfile.ZipFile(inner) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    zipped(inner, {**members, "model.weights.h5": path.read_bytes()})
    with pytest.raises(BadInput, match=r"unpacks to 4398\.0 GB"):
        port.load(inner)


@pytest.mark.parametrize("form", ["link", "soft", "storage", "virtual"])
def test_hdf5_files_that_point_elsewhere_are_refused(form: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(bytes(64))

    def spoil(file: h5py.File) -> None:
        if form == "link":
            file["odd"] = h5py.ExternalLink("other.h5", "/x")
        elif form == "soft":
            file["odd"] = h5py.SoftLink("/model_weights")
        elif form == "storage":
            file.create_dataset("odd", (16,), "f4", external=[(str(tmp_path / "other"), 0, 64)])
        else:
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (4,))
            file.create_virtual_dataset("odd", layout)

    with pytest.raises(BadInput, match="takes 'odd' from"):
        port.load(hdf5(tmp_path / "a.h5", spoil))


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_layers_that_declare_too_much_are_refused(library: Any, suffix: str, tmp_path: Path) -> None:
    def change(config: Any) -> Any:
        config["config"]["layers"][1]["config"]["units"] = 10**11
        return config

    path = with_config(saved(small(library), tmp_path / f"model{suffix}"), change)
    with pytest.raises(BadInput, match="unpacks to"):
        port.load(path)


@pytest.mark.parametrize(
    "name", ["model.keras", "model.h5", "saved/keras_metadata.pb", "saved/variables/variables.index"]
)
def test_damaged_files_are_refused_or_work(name: str, tmp_path: Path) -> None:
    path = tmp_path / name.split("/")[0]
    saved(small(tf_keras if "saved" in name else keras), path)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(25):
        spoiled = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.integers(1, 8)):
            spoiled[rng.integers(len(spoiled))] = rng.integers(256)
        (tmp_path / name).write_bytes(spoiled)
        try:
            model_files.opened(path)
        except BadInput as error:
            assert len(str(error)) < 600


def test_weights_without_a_model_are_told_so(tmp_path: Path) -> None:
    small(tf_keras).save_weights(tmp_path / "only.h5")
    with pytest.raises(BadInput, match="holds weights without a model"):
        port.load(tmp_path / "only.h5")
