"""`model.onnx` beside `model.safetensors`: the same weights, for the CPU runtime of the pocket engine.

The graph names byte ranges of model.safetensors as its external data, so the weights are shipped once. It is made for
decoding in a batch of ragged rows: every row has its own length, keys and values are updated in place, and a row's
result does not depend on the others.

    input_ids [B, S]   lengths_k [B] (length of each row with the new tokens, less one)   total (a scalar: the longest)
    past_key.i, past_value.i [B, H, 512, D]  ->  logits [B * S, V], present_key.i, present_value.i (bind them to past_*)
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from errata.errors import ExportError

WEIGHTS = "model.safetensors"
MICROSOFT = "com.microsoft"


def _weights(folder: Path) -> list[TensorProto]:
    """The tensors of the safetensors file as initializers that point into that file."""
    with (folder / WEIGHTS).open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    found = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ExportError(f"{name} is {entry['dtype']}, not F32: save the model's weights in float32")
        begin, end = entry["data_offsets"]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=entry["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", 8 + size + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))
        found.append(tensor)
    return found


class _Graph:
    """Nodes in order; every call adds one and names its outputs."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []

    def add(self, op: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> str:
        """Returns the first output's name."""
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]

    def linear(self, x: str, matrices: list[str], out: str) -> str:
        """x [N, in] times the stacked matrices [out_i, in], which the runtime stacks once, as it loads the model."""
        weight = matrices[0] if len(matrices) == 1 else self.add("Concat", matrices, [f"{out}.weight"], axis=0)
        return self.add("Gemm", [x, weight], [out], transB=1)

    def add_and_norm(self, x: str, residual: str, weight: str, epsilon: float) -> tuple[str, str]:
        """RMS norm of x + residual, and that sum."""
        normed, total = f"{x}.normed", f"{x}.residual"
        self.add(
            "SkipSimplifiedLayerNormalization",
            [x, residual, weight],
            [normed, "", "", total],
            domain=MICROSOFT,
            epsilon=epsilon,
        )
        return normed, total


def _attention(graph: _Graph, config: dict[str, Any], x: str, i: int) -> str:
    """Causal attention of layer `i` over the row's own keys; x and the result are [B * S, hidden]."""
    p = f"model.layers.{i}.self_attn"
    qkv = graph.linear(x, [f"{p}.{n}_proj.weight" for n in "qkv"], f"l{i}.qkv")
    graph.add("Reshape", [qkv, "batch_shape"], [f"l{i}.qkv3"])
    mixed = graph.add(
        "GroupQueryAttention",
        [f"l{i}.qkv3", "", "", f"past_key.{i}", f"past_value.{i}", "lengths_k", "total", "cos", "sin"],
        [f"l{i}.mixed", f"present_key.{i}", f"present_value.{i}"],
        domain=MICROSOFT,
        num_heads=config["num_attention_heads"],
        kv_num_heads=config["num_key_value_heads"],
        do_rotary=1,
        rotary_interleaved=0,
    )
    flat = graph.add("Reshape", [mixed, "flat_shape"], [f"l{i}.mixed2"])
    return graph.linear(flat, [f"{p}.o_proj.weight"], f"l{i}.attended")


def _feed_forward(graph: _Graph, x: str, i: int) -> str:
    p = f"model.layers.{i}.mlp"
    both = graph.linear(x, [f"{p}.gate_proj.weight", f"{p}.up_proj.weight"], f"l{i}.both")
    graph.add("Split", [both], [f"l{i}.gate", f"l{i}.up"], axis=1, num_outputs=2)
    graph.add("QuickGelu", [f"l{i}.gate"], [f"l{i}.silu"], domain=MICROSOFT, alpha=1.0)
    graph.add("Mul", [f"l{i}.silu", f"l{i}.up"], [f"l{i}.product"])
    return graph.linear(f"l{i}.product", [f"{p}.down_proj.weight"], f"l{i}.fed")


def _layers(config: dict[str, Any]) -> list[NodeProto]:
    """The whole model from ids to logits."""
    graph = _Graph()
    epsilon = config["rms_norm_eps"]
    graph.add("Reshape", ["input_ids", "one_row"], ["ids"])
    graph.add("Gather", ["model.embed_tokens.weight", "ids"], ["residual"])
    graph.add("Shape", ["input_ids"], ["shape"])
    graph.add("Concat", ["shape", "one_row"], ["batch_shape"], axis=0)
    x = graph.add(
        "SimplifiedLayerNormalization",
        ["residual", "model.layers.0.input_layernorm.weight"],
        ["normed"],
        axis=-1,
        epsilon=epsilon,
    )
    residual, count = "residual", config["num_hidden_layers"]
    for i in range(count):
        after = f"model.layers.{i + 1}.input_layernorm.weight" if i + 1 < count else "model.norm.weight"
        x, residual = graph.add_and_norm(
            _attention(graph, config, x, i), residual, f"model.layers.{i}.post_attention_layernorm.weight", epsilon
        )
        x, residual = graph.add_and_norm(_feed_forward(graph, x, i), residual, after, epsilon)
    graph.linear(x, ["model.embed_tokens.weight"], "logits")
    return graph.nodes


def _constants(config: dict[str, Any]) -> list[TensorProto]:
    """Rotary tables [positions, D / 2] and shapes."""
    theta = config["rope_parameters"]["rope_theta"]
    half = config["head_dim"] // 2
    angles = np.outer(np.arange(config["max_position_embeddings"]), theta ** (-np.arange(half) / half))
    values = {
        "cos": np.cos(angles).astype(np.float32),
        "sin": np.sin(angles).astype(np.float32),
        "one_row": np.array([-1]),
        "flat_shape": np.array([-1, config["num_attention_heads"] * config["head_dim"]]),
    }
    return [numpy_helper.from_array(v, n) for n, v in values.items()]


def _interface(config: dict[str, Any]) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Inputs and outputs."""
    cache = ["B", config["num_key_value_heads"], config["max_position_embeddings"], config["head_dim"]]
    names = [f"{kind}.{i}" for i in range(config["num_hidden_layers"]) for kind in ("key", "value")]
    info = helper.make_tensor_value_info
    inputs = [
        info("input_ids", TensorProto.INT64, ["B", "S"]),
        info("lengths_k", TensorProto.INT32, ["B"]),
        info("total", TensorProto.INT32, []),
        *(info(f"past_{n}", TensorProto.FLOAT, cache) for n in names),
    ]
    outputs = [
        info("logits", TensorProto.FLOAT, ["N", config["vocab_size"]]),
        *(info(f"present_{n}", TensorProto.FLOAT, cache) for n in names),
    ]
    return inputs, outputs


def export(folder: Path) -> Path:
    """Write `folder`/model.onnx for its config.json and model.safetensors, and return its path.

    Raises ExportError for a model that is no plain Llama with tied embeddings in float32.
    """
    config = json.loads((folder / "config.json").read_text())
    expected = {"model_type": "llama", "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False}
    wrong = [f"{k} is {config.get(k)!r}, not {v!r}" for k, v in expected.items() if config.get(k) != v]
    if config["rope_parameters"]["rope_type"] != "default":
        wrong.append("rope_type is not 'default'")
    if wrong:
        raise ExportError(f"{folder}/config.json: {'; '.join(wrong)}")
    inputs, outputs = _interface(config)
    tensors = [*_weights(folder), *_constants(config)]
    model = helper.make_model(
        helper.make_graph(_layers(config), "pocket", inputs, outputs, tensors),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=9,
        producer_name="errata",
    )
    path = folder / "model.onnx"
    onnx.save_model(model, str(path))
    return path
