"""Keras model files, checked before they are opened: only stock layers, no code, no sizes beyond the limit.

Keras builds whatever classes and functions a file names and allocates what it declares. Here the file's configuration
is read first, as plain JSON, and everything in it that is not in :mod:`adascale_tf.graph.stock` is refused; Keras then
opens the rest in its own safe scope. A SavedModel is never loaded, since its graphs may do anything: its layers are
built from its configuration and take the values of its variables.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import tensorflow as tf
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives, disk
from adascale_runtime.text import excerpt
from adascale_tf.bridge.functional import limited
from adascale_tf.bridge.port_layers import UNKNOWN
from adascale_tf.graph import stock

#: Most bytes of a configuration; those of Keras' largest applications take about 2 MB.
MOST_CONFIG = 16 << 20
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
#: Where the objects in a configuration may come from; what else it names is somebody's own code.
_MODULES = ("keras", "tf_keras", "builtins")
#: What configurations hold beside layers, initializers, regularizers and constraints.
_VALUES = frozenset({
    "DTypePolicy", "FloatDTypePolicy", "Policy", "TensorShape", "__keras_tensor__", "__numpy__", "__tensor__",
    "__tuple__",
})  # fmt: skip


@dataclass(frozen=True)
class Looked:
    """What a file says of itself: whether Keras 3 made it, and the configuration of its model."""

    keras3: bool
    config: dict[str, Any]


def opened(path: Path) -> Any:
    """The live Keras 3 or ``tf_keras`` model of a .keras or .h5 file, or of a Keras 2 SavedModel folder.

    :class:`BadInput` says what is wrong with the file, and names a layer that is not a stock layer. Code stored inside
    a model (lambdas, classes, graphs) is never executed.
    """
    if not path.exists():
        raise BadInput(f"There is no model at {path}; give a .keras or .h5 file, or a SavedModel folder.")
    if path.is_dir() and not (path / "keras_metadata.pb").is_file():
        raise BadInput(f"{path} is not a SavedModel of Keras 2 (no keras_metadata.pb); save the model as .keras.")
    if path.is_file() and path.suffix not in (".keras", ".h5", ".hdf5"):
        raise BadInput(f"{path} is not a .keras or .h5 file; save the model as .keras.")
    sight = _look(path)
    check_config(sight, path)
    try:
        with _safe(sight.keras3), limited(str(path)):
            if path.is_dir():
                return _restored(sight.config, path)
            library = _keras3() if sight.keras3 else tf_keras
            return library.models.load_model(path, compile=False, **({"safe_mode": True} if sight.keras3 else {}))
    except BadInput:
        raise
    except Exception as error:  # loaders raise whatever the broken part of a file makes them raise
        reason = textwrap.shorten(str(error).split("\n\n")[0], 200, placeholder=" ...")
        raise BadInput(
            f"{path} cannot be opened as a Keras model ({reason}); open it where it was made and save it again as "
            ".keras."
        ) from None


def _keras3() -> ModuleType:
    import keras

    return keras


@contextmanager
def _safe(keras3: bool) -> Iterator[None]:
    """The safe scopes of ``tf_keras`` and, where it is needed, of Keras 3: neither reaches the other's layers."""
    from tf_keras.src.saving import serialization_lib as second

    # The argument safe_mode of the loaders reaches only some kinds of files, in older versions only .keras.
    with second.SafeModeScope(True):
        if not keras3:
            yield
            return
        from keras.src.saving import serialization_lib as third

        with third.SafeModeScope(True):
            yield


def _look(path: Path) -> Looked:
    """Read a file's configuration and check the sizes it declares."""
    try:
        if path.is_dir():
            return Looked(False, _saved_model_config(path))
        if path.suffix == ".keras":
            return _look_at_archive(path)
        return _look_at_hdf5(path)
    except BadInput:
        raise
    except Exception as error:  # h5py and protobuf raise many kinds of errors for damaged files; all mean the same
        raise BadInput(
            f"{path} is not a complete Keras file ({excerpt(str(error) or type(error).__name__, 120)}); save or copy "
            "it again."
        ) from None


def _look_at_archive(path: Path) -> Looked:
    with archives.opened(path) as archive:
        names = archive.namelist()
        for name in (_METADATA, _CONFIG, _WEIGHTS):
            if name not in names:
                raise BadInput(
                    f"{path} is not a complete Keras file (it has no {name}); save the model again as .keras."
                )
        version = _object(_config_text(archive.read(_METADATA), _METADATA, path)).get("keras_version")
        check_config_size(archive.getinfo(_CONFIG).file_size, path)
        config = _object(_config_text(archive.read(_CONFIG), _CONFIG, path))
        with disk.writing(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as copy:
            with archive.open(_WEIGHTS) as weights:
                shutil.copyfileobj(weights, copy, 1 << 20)
            _check_weights(copy, path)
    return Looked(str(version).startswith("3"), config)


def _look_at_hdf5(path: Path) -> Looked:
    import h5py

    _check_weights(path, path)
    with h5py.File(path) as file:
        text = file.attrs.get("model_config")
        version = str(file.attrs.get("keras_version", "2"))
    if text is None:
        raise BadInput(f"{path} holds weights without a model; save the whole model, with model.save.")
    text = text if isinstance(text, (str, bytes)) else str(text)
    return Looked(version.startswith("3"), _object(_config_text(text, "model_config", path)))


def _saved_model_config(path: Path) -> dict[str, Any]:
    from google.protobuf.message import DecodeError
    from tf_keras.protobuf import saved_metadata_pb2

    metadata = saved_metadata_pb2.SavedMetadata()
    source = path / "keras_metadata.pb"
    check_config_size(source.stat().st_size, path)
    try:
        metadata.ParseFromString(source.read_bytes())
    except DecodeError as error:
        raise ValueError(str(error)) from None
    roots = [node for node in metadata.nodes if node.node_path == "root"]
    if not roots:
        raise ValueError("keras_metadata.pb names no model")
    saved = _object(_config_text(roots[0].metadata, source.name, path))
    if not saved.get("is_graph_network", True) or "config" not in saved:
        raise BadInput(
            f"Model '{excerpt(saved.get('name', ''))}' in {path} has no graph of layers (subclassed or unbuilt?); "
            "build it with the functional API or Sequential with an Input."
        )
    return {"class_name": saved.get("class_name"), "config": saved["config"]}


def check_config_size(size: int, path: Path) -> None:
    """Refuse a configuration that no model needs."""
    if size > MOST_CONFIG:
        raise BadInput(
            f"{path} describes its layers in {size / 1e6:.0f} MB, more than any model needs (at most "
            f"{MOST_CONFIG / 1e6:.0f} MB); do not use it."
        )


def _config_text(text: str | bytes, what: str, path: Path) -> Any:
    check_config_size(len(text), path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not a complete Keras file ({what}: {error}); save or copy it again.") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"an object was expected, not {excerpt(value, 30)}")
    return value


def _check_weights(source: Path | IO[bytes], path: Path) -> None:
    """Refuse weights that declare more than the limit, or that lie in other files."""
    import h5py

    links: list[tuple[str, Any]] = []
    declared = 0
    with h5py.File(source, "r") as file:
        # The library is in C while it visits: nothing may be opened or raised there.
        file.visititems_links(lambda name, link: links.append((name, link)))
        for name, link in links:
            member = file[name] if isinstance(link, h5py.HardLink) else None
            if member is None or (isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)):
                raise BadInput(
                    f"{path} takes '{excerpt(name)}' from outside its own data; save the model again as .keras."
                )
            if isinstance(member, h5py.Dataset):
                declared += int(member.size or 0) * member.dtype.itemsize
    archives.check_size(declared, str(path))


def check_config(looked: Looked, path: Path) -> None:
    """Refuse a model's configuration that names anything else than stock layers and what belongs to them."""
    values = _values(looked.keras3)
    stack: list[tuple[Any, bool]] = [(looked.config, True)]
    while stack:
        part, is_layer = stack.pop()
        if isinstance(part, list):
            stack += [(item, is_layer) for item in reversed(part)]
        elif isinstance(part, dict):
            if "class_name" in part and is_layer:
                _check_layer(part)
            elif "class_name" in part:
                _check_value(part, values, path)
            # Nothing is compiled; the shapes are those of the layers.
            stack += [(v, k == "layers") for k, v in part.items() if k not in ("compile_config", "build_config")]


def _check_layer(part: dict[str, Any]) -> None:
    kind, config = str(part["class_name"]), part.get("config")
    config = config if isinstance(config, dict) else {}
    name = excerpt(str(config.get("name", part.get("name", "?"))))
    module = str(part.get("module") or "keras")
    if kind in ("TFOpLambda", "SlicingOpLambda") or ".ops." in module:
        symbol = str(config.get("function", kind)) if kind == "TFOpLambda" else kind
        if kind == "SlicingOpLambda" or stock.bare(symbol) not in stock.OPERATIONS:
            raise BadInput(
                f"Operation '{name}' ({excerpt(symbol)}) cannot be converted to Keras 2; write it with stock layers."
            )
        kind = "Activation"
    allowed = stock.LAYERS | stock.AUGMENTATIONS | stock.STRUCTURE | {"Normalization"}
    stranger = module.split(".")[0] not in _MODULES
    if kind in allowed or stock.bare(kind) in stock.OPERATIONS:
        if not stranger:
            return
        kind = f"{kind} of {module}"
    raise BadInput(f"Layer '{name}' is a {excerpt(kind)}, {UNKNOWN}")


def _check_value(part: dict[str, Any], values: frozenset[str], path: Path) -> None:
    kind, module = str(part["class_name"]), str(part.get("module") or "keras")
    shown = kind
    if kind == "function":  # an activation; its module may be any
        shown = str(part.get("config"))
        if stock.bare(shown) in stock.OPERATIONS:
            return
    elif kind in values and module.split(".")[0] in _MODULES:
        return
    raise BadInput(
        f"{path} uses {excerpt(shown)}, which cannot be converted to Keras 2; remove it from the model and save it "
        "again."
    )


def _values(keras3: bool) -> frozenset[str]:
    """The names of all that a stock layer's configuration may hold."""
    names: set[str] = set(_VALUES) | stock.LAYERS | stock.AUGMENTATIONS
    for library in (tf_keras, _keras3()) if keras3 else (tf_keras,):
        for part in (library.initializers, library.regularizers, library.constraints):
            names |= {name for name, value in vars(part).items() if inspect.isclass(value)}
    return frozenset(names)


def _restored(config: dict[str, Any], path: Path) -> Any:
    """A SavedModel's layers with the values of its variables."""
    model = tf_keras.layers.deserialize(_with_tuples(config))
    status = tf.train.Checkpoint(root=model).read(str(path / "variables" / "variables"))
    status.assert_existing_objects_matched()
    return model


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "__tuple__":
            return tuple(_with_tuples(item) for item in value["items"])
        return {key: _with_tuples(item) for key, item in value.items()}
    return [_with_tuples(item) for item in value] if isinstance(value, list) else value
