"""Record rollouts of the pocket student as JSON lines: the small real input of pipelines/recorded_pairs.yaml.

    python data/rollouts/make.py > data/rollouts/pocket.jsonl

One line: {"problem": ..., "answer": "3", "model": ..., "attempts": [{"text": ..., "correct": true}, ...]}
"""

import asyncio
import json

from errata.engines.base import Request, Sampling
from errata.engines.pocket import Pocket
from errata.records.ids import seed
from errata.records.types import Episode
from errata.sources.procedural import procedural
from errata.verifiers.chain import procedural as judge

PROBLEMS, SAMPLES, SEED = 64, 4, 20_261_121


async def main() -> None:
    engine = Pocket()
    items = procedural(count=PROBLEMS, operations=(3, 8), distractors=(0, 3), seed=SEED)
    sampling = Sampling(temperature=1.0, max_tokens=240)
    for episode in (i for i in items if isinstance(i, Episode)):
        problem = episode.problem
        seeds = [seed(rollout=problem.id, k=k) for k in range(SAMPLES)]
        asked = [engine.generate(Request(messages=problem.messages, sampling=sampling, seed=s)) for s in seeds]
        texts = [reply.text for reply in await asyncio.gather(*asked)]
        attempts = [{"text": t, "correct": judge(problem, t).outcome == "pass"} for t in texts]
        row = {"problem": problem.text, "answer": problem.answer, "model": engine.identity.model, "attempts": attempts}
        print(json.dumps(row))
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
