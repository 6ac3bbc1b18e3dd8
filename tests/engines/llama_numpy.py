"""A Llama forward pass in numpy, float64, from safetensors: the independent word on what the model's logits are."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[np.float64]


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rotate(x: Array, theta: float) -> Array:
    """Rotary embedding of x [heads, positions, D], halves paired as (i, i + D / 2)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=-1)


class Llama:
    """Logits of every position, one sequence at a time."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()}

    def attention(self, x: Array, layer: str) -> Array:
        heads, width = self.config["num_attention_heads"], self.config["head_dim"]
        if self.config["num_key_value_heads"] != heads:
            raise ValueError("written for as many key heads as query heads")
        q, k, v = (
            (x @ self.weights[f"{layer}.self_attn.{n}_proj.weight"].T).reshape(len(x), heads, width).transpose(1, 0, 2)
            for n in "qkv"
        )
        theta = self.config["rope_parameters"]["rope_theta"]
        scores = rotate(q, theta) @ rotate(k, theta).transpose(0, 2, 1) / np.sqrt(width)
        scores[:, np.triu(np.ones((len(x), len(x)), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ v
        return mixed.transpose(1, 0, 2).reshape(len(x), -1) @ self.weights[f"{layer}.self_attn.o_proj.weight"].T

    def logits(self, ids: list[int]) -> Array:
        """[positions, vocabulary]"""
        w, epsilon = self.weights, self.config["rms_norm_eps"]
        x = w["model.embed_tokens.weight"][ids]
        for i in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{i}"
            x = x + self.attention(rms_norm(x, w[f"{layer}.input_layernorm.weight"], epsilon), layer)
            y = rms_norm(x, w[f"{layer}.post_attention_layernorm.weight"], epsilon)
            gate, up = (y @ w[f"{layer}.mlp.{n}_proj.weight"].T for n in ("gate", "up"))
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{layer}.mlp.down_proj.weight"].T
        return rms_norm(x, w["model.norm.weight"], epsilon) @ w["model.embed_tokens.weight"].T
