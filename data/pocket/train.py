"""Train the pocket student from scratch: a Llama of 0.9M parameters that solves, criticises and revises chains.

    pip install -e ".[train]"
    python data/pocket/train.py --out data/pocket && python -m errata.train graph data/pocket
    python data/pocket/train.py --out data/pocket --own && python -m errata.train graph data/pocket

Data are generated as training goes (`errata.chains`): no row is read from disk. The student sees solutions, revisions
of wrong solutions with and without a critique, and critiques; the loss is on the assistant's last turn alone. In the
first run the wrong solutions hold slips made by rule; the second run (`--own`) goes on from the model in `--out` with
attempts that the model sampled itself, since a student that saw only slips repeats its own mistakes when told of them.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from errata import chains
from errata.engines.base import Request, Sampling
from errata.engines.pocket import Pocket
from errata.records.ids import seed as hashed
from errata.records.types import Message

SPECIAL = ("<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
WORDS = (
    "= so : ? plus minus times is not All values are modulo What The answer Find the first wrong step Step Every right "
    "Correct solution There may be an error Solve it again missing known yet given value of no"
).split()
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}"
    "{% if not (loop.last and continue_final_message is defined and continue_final_message) %}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
STEPS, OWN_STEPS, OWN_ATTEMPTS = 8000, 1000, 5000
ASK_CRITIQUE = "Find the first wrong step"
ASK_REVISION = "{critique}\nCorrect the solution"
ASK_AGAIN = "There may be an error\nSolve it again"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level tokens; a line break is a word of its own, and text of single spaces survives the round trip.

    The marks of roles are no special tokens, which decoding skips: the decoder must see one to know that no space
    joins the words after it to those before it, when a server decodes a reply after its prompt.
    """
    numbers = [str(n) for n in range(max(chains.MODULUS, 24))]
    vocabulary = {w: i for i, w in enumerate((*SPECIAL, "\n", *WORDS, *numbers, *chains.NAMES))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed")]
    )
    roles = [AddedToken(f"<|{role}|>", normalized=False, special=False) for role in ("system", "user", "assistant")]
    tokenizer.add_tokens(roles)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(r" ?<\|(system|user|assistant)\|> ?"), ""),
            decoders.Replace(Regex(" ?\n ?"), "\n"),
        ]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        eos_token="<|end|>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast


def make_model(vocabulary: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=32,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=SPECIAL.index("<|end|>"),
            pad_token_id=0,
            rms_norm_eps=1e-5,
        )
    )


def recital(rng: random.Random, chain: chains.Chain) -> list[tuple[str, str]]:
    """Say what is given, in another order: the quickest way for a small model to learn to look things up."""
    asked = chains.question(chain).rsplit("\n", 1)[0] + "\nWhat is given ?"
    rules = [str(r) for r in chain.rules]
    rng.shuffle(rules)
    return [("user", asked), ("assistant", "\n".join(rules))]


class Own(NamedTuple):
    """An attempt that the student sampled."""

    chain: chains.Chain
    steps: list[str]


async def sample_own(folder: Path, count: int, seed: int) -> list[Own]:
    """One attempt of the model in `folder` at each of `count` problems, at temperature 1."""
    engine = Pocket(path=str(folder))
    rng = random.Random(hashed(own=seed))
    problems = [chains.generate(rng, rng.randint(2, 11), rng.randint(0, 3)) for _ in range(count)]
    sampling = Sampling(temperature=1.0, max_tokens=220)
    asked = [
        Request(
            messages=(Message(role="user", content=chains.question(c)),),
            sampling=sampling,
            seed=hashed(own=seed, item=i),
        )
        for i, c in enumerate(problems)
    ]
    replies = await asyncio.gather(*(engine.generate(r) for r in asked))
    await engine.close()
    known = {*WORDS, *chains.NAMES, *map(str, range(24))}
    # At temperature 1 a reply may hold a role's token; what cannot be written as words is left out.
    return [
        Own(c, r.text.split("\n"))
        for c, r in zip(problems, replies, strict=True)
        if r.finish == "stop" and known.issuperset(r.text.split())
    ]


def reviewed(rng: random.Random, own: Own) -> list[tuple[str, str]]:
    """A critique or revision of the student's own attempt."""
    found = chains.first_error(own.chain, own.steps)
    turns = [("user", chains.question(own.chain)), ("assistant", "\n".join(own.steps))]
    task = rng.random()
    if task < 0.2:
        return [*turns, ("user", ASK_CRITIQUE), ("assistant", chains.critique(found))]
    ask = ASK_AGAIN if task < 0.45 else ASK_REVISION.format(critique=chains.critique(found))
    return [*turns, ("user", ask), ("assistant", "\n".join(chains.solve(own.chain)))]


def conversation(rng: random.Random, plan: "Stage", pool: Sequence[Own]) -> list[tuple[str, str]]:
    """One training example as (role, text) turns; the last turn is the target."""
    if pool and rng.random() < plan.own:
        wrong = rng.random() < 0.75
        while True:
            own = rng.choice(pool)
            if (chains.first_error(own.chain, own.steps) is not None) == wrong:
                return reviewed(rng, own)
    chain = chains.generate(rng, rng.randint(1, plan.longest), rng.randint(0, 3))
    if rng.random() < plan.reciting:
        return recital(rng, chain)
    gold = chains.solve(chain)
    problem = ("user", chains.question(chain))
    if rng.random() >= plan.revising:
        return [problem, ("assistant", "\n".join(gold))]
    attempt = None
    if rng.random() < 0.8:
        kinds = ("operand", "operand", "operand", "arithmetic", "arithmetic", "definition", "order", "premature")
        attempt = chains.slip(rng, chain, rng.choice(kinds))
    attempt = attempt or gold
    found = chains.first_error(chain, attempt)
    turns = [problem, ("assistant", "\n".join(attempt))]
    task = rng.random()
    if task < 0.25:
        return [*turns, ("user", ASK_CRITIQUE), ("assistant", chains.critique(found))]
    ask = ASK_AGAIN if task < 0.55 else ASK_REVISION.format(critique=chains.critique(found))
    return [*turns, ("user", ask), ("assistant", "\n".join(gold))]


class Batches:
    """Endless batches of about `tokens` tokens, of conversations of like length; labels are -100 off the target."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int, tokens: int, pool: Sequence[Own] = ()) -> None:
        self.vocabulary = tokenizer.get_vocab()
        self.pool = pool
        self.rng = random.Random(seed)
        self.tokens = tokens

    def encode(self, turns: list[tuple[str, str]]) -> tuple[list[int], int]:
        """Token ids, and where the target begins."""
        ids: list[int] = []
        start = 0
        for role, text in turns:
            ids.append(self.vocabulary[f"<|{role}|>"])
            start = len(ids)
            ids += [self.vocabulary[w] for w in text.replace("\n", " \n ").split(" ")]
            ids.append(self.vocabulary["<|end|>"])
        return ids, start

    def draw(self, plan: "Stage") -> Iterator[tuple[Tensor, Tensor]]:
        rows = [self.encode(conversation(self.rng, plan, self.pool)) for _ in range(512)]
        rows.sort(key=lambda r: len(r[0]))
        groups: list[list[tuple[list[int], int]]] = [[]]
        for row in rows:
            if (len(groups[-1]) + 1) * len(row[0]) > self.tokens:
                groups.append([])
            groups[-1].append(row)
        self.rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            x = torch.zeros(len(group), width, dtype=torch.long)
            y = torch.full((len(group), width), -100)
            for i, (ids, start) in enumerate(group):
                x[i, : len(ids)] = torch.tensor(ids)
                y[i, start : len(ids)] = torch.tensor(ids[start:])
            yield x, y


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz iterations (Jordan et al. 2024), for the matrices of the layers."""

    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                m = state.setdefault("momentum", torch.zeros_like(p)).lerp_(p.grad, 0.05)
                x = p.grad.lerp(m, 0.95)
                tall = x.shape[0] > x.shape[1]
                x = x.T if tall else x
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    s = x @ x.T
                    x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
                x = x.T if tall else x
                p.mul_(1 - group["lr"] * 0.01)
                p.add_(x, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


@torch.no_grad()
def accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, operations: int, count: int, seed: int
) -> float:
    """Share of greedy solutions that end in the right answer."""
    rng = random.Random(seed)
    problems = [chains.generate(rng, operations, 2) for _ in range(count)]
    texts = [f"<|user|>{chains.question(c)}<|end|><|assistant|>" for c in problems]
    tokenizer.padding_side = "left"
    batch = tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
    out = model.generate(**batch, max_new_tokens=operations * 18 + 30, do_sample=False)
    replies = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return sum(chains.answer(r) == str(c.values()[c.target]) for r, c in zip(replies, problems, strict=True)) / count


class Stage(NamedTuple):
    """What a stretch of the training is made of."""

    longest: int
    """Operations of the longest chain."""
    reciting: float
    """Share of recitals."""
    revising: float
    """Share of critiques and revisions among the rest."""
    own: float = 0.0
    """Share of critiques and revisions of the student's own attempts."""


def curriculum(progress: float) -> Stage:
    """Looking up first, then short chains, then long ones and the revision tasks."""
    if progress < 0.08:
        return Stage(2, 0.7, 0.0)
    if progress < 0.16:
        return Stage(3, 0.3, 0.0)
    if progress < 0.3:
        return Stage(5, 0.1, 0.2)
    return Stage(9, 0.0, 0.4)


def learning_rate(progress: float) -> float:
    """Factor on the base rates: a short warm-up, a plateau, and a linear decay over the last 40 %."""
    return min(1.0, progress / 0.01) * min(1.0, (1 - progress) / 0.4)


def train(out: Path, steps: int, tokens: int, seed: int, own: int) -> None:
    """The first run, or with `own` attempts the second, at a fifth of its rates."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = LlamaForCausalLM.from_pretrained(out) if own else make_model(len(tokenizer))
    pool = asyncio.run(sample_own(out, own, seed)) if own else []
    base = 0.2 if own else 1.0
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(tokenizer)} words", flush=True)
    batches = Batches(tokenizer, seed + bool(own), tokens, pool)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "layers" not in n]
    optimizers = [(Muon(matrices, 0.02), 0.02), (torch.optim.AdamW(rest, lr=4e-3, betas=(0.9, 0.95)), 4e-3)]
    step, seen, began, total = 0, 0, time.monotonic(), 0.0
    log = []
    while step < steps:
        stage = Stage(9, 0.0, 0.1, own=0.65) if own else curriculum(step / steps)
        for x, y in batches.draw(stage):
            if step >= steps:
                break
            rate = base * learning_rate(step / steps)
            loss = model(input_ids=x, labels=y).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, peak in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = peak * rate
                optimizer.step()
                optimizer.zero_grad()
            step, seen, total = step + 1, seen + x.numel(), total + loss.item()
            if step % 100 == 0:
                now = time.monotonic() - began
                pace = f"{seen / now:.0f} tokens/s {now / 60:.1f} min"
                print(f"{step} loss {total / 100:.4f} longest {stage.longest} {pace}", flush=True)
                total = 0.0
            if step % (steps // 8) == 0 or step == steps:
                model.eval()
                scores = {n: accuracy(model, tokenizer, n, 100, seed + 1) for n in (2, 4, 6, 8, 10, 12)}
                model.train()
                print(step, scores, flush=True)
                minutes = round((time.monotonic() - began) / 60, 1)
                log.append({"step": step, "tokens": seen, "minutes": minutes, "greedy": scores})
                save(model, tokenizer, out)
                (out / ("training_own.json" if own else "training.json")).write_text(json.dumps(log, indent=1) + "\n")


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0, help=f"updates; {STEPS}, or {OWN_STEPS} with --own")
    parser.add_argument("--tokens", type=int, default=3000, help="tokens in a batch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--own", action="store_true", help="the second run: go on with the model's own attempts")
    args = parser.parse_args()
    steps = args.steps or (OWN_STEPS if args.own else STEPS)
    train(args.out, steps, args.tokens, args.seed, OWN_ATTEMPTS if args.own else 0)


if __name__ == "__main__":
    main()
