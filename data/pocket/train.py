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
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from errata import chains
from errata.engines.base import Request, Sampling
from errata.engines.pocket import Pocket
from errata.records.ids import seed as hashed
from errata.records.types import Message
from errata.train.scratch import Encoder, Turn, Updates, batches, learning_rate, llama, save, tokenizer

WORDS = (
    "= so : ? plus minus times is not All values are modulo What The answer Find the first wrong step Step Every right "
    "Correct solution There may be an error Solve it again missing known yet given value of no"
).split()
POSITIONS = 512
STEPS, OWN_STEPS, OWN_ATTEMPTS = 8000, 1000, 5000
ASK_CRITIQUE = "Find the first wrong step"
ASK_REVISION = "{critique}\nCorrect the solution"
ASK_AGAIN = "There may be an error\nSolve it again"


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

    def __init__(self, words: PreTrainedTokenizerFast, seed: int, tokens: int, pool: Sequence[Own] = ()) -> None:
        self.encode = Encoder(words)
        self.pool = pool
        self.rng = random.Random(seed)
        self.tokens = tokens

    def draw(self, plan: "Stage") -> Iterator[tuple[Tensor, Tensor]]:
        rows = []
        for _ in range(512):
            *shown, (role, target) = conversation(self.rng, plan, self.pool)
            rows.append(self.encode([*(Turn(r, text) for r, text in shown), Turn(role, target, True)]))
        return batches(self.rng, rows, self.tokens)


@torch.no_grad()
def accuracy(model: LlamaForCausalLM, words: PreTrainedTokenizerFast, operations: int, count: int, seed: int) -> float:
    """Share of greedy solutions that end in the right answer."""
    rng = random.Random(seed)
    problems = [chains.generate(rng, operations, 2) for _ in range(count)]
    texts = [f"<|user|>{chains.question(c)}<|end|><|assistant|>" for c in problems]
    words.padding_side = "left"
    batch = words(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
    out = model.generate(**batch, max_new_tokens=operations * 18 + 30, do_sample=False)
    replies = words.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
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


def train(out: Path, steps: int, tokens: int, seed: int, own: int) -> None:
    """The first run, or with `own` attempts the second, at a fifth of its rates."""
    torch.manual_seed(seed)
    numbers = [str(n) for n in range(max(chains.MODULUS, 24))]
    words = tokenizer((*WORDS, *numbers, *chains.NAMES), POSITIONS)
    model = llama(len(words), width=128, layers=4, positions=POSITIONS)
    if own:
        model = LlamaForCausalLM.from_pretrained(out)
    pool = asyncio.run(sample_own(out, own, seed)) if own else []
    base = 0.2 if own else 1.0
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(words)} words", flush=True)
    endless = Batches(words, seed + bool(own), tokens, pool)
    update = Updates(model)
    step, seen, began, total = 0, 0, time.monotonic(), 0.0
    log = []
    while step < steps:
        stage = Stage(9, 0.0, 0.1, own=0.65) if own else curriculum(step / steps)
        for x, y in endless.draw(stage):
            if step >= steps:
                break
            loss = update(x, y, base * learning_rate(step / steps))
            step, seen, total = step + 1, seen + x.numel(), total + loss
            if step % 100 == 0:
                now = time.monotonic() - began
                pace = f"{seen / now:.0f} tokens/s {now / 60:.1f} min"
                print(f"{step} loss {total / 100:.4f} longest {stage.longest} {pace}", flush=True)
                total = 0.0
            if step % (steps // 8) == 0 or step == steps:
                model.eval()
                scores = {n: accuracy(model, words, n, 100, seed + 1) for n in (2, 4, 6, 8, 10, 12)}
                model.train()
                print(step, scores, flush=True)
                minutes = round((time.monotonic() - began) / 60, 1)
                log.append({"step": step, "tokens": seen, "minutes": minutes, "greedy": scores})
                save(model, words, out)
                (out / ("training_own.json" if own else "training.json")).write_text(json.dumps(log, indent=1) + "\n")


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
