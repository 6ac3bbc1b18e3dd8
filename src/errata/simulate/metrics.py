"""The metrics that a router reads of a vLLM server, under vLLM's names, as Prometheus text."""

from errata.simulate.model import ContinuousBatch

_ROWS = (
    ("num_requests_running", "gauge", "Sequences that hold a slot."),
    ("num_requests_waiting", "gauge", "Requests in the queue."),
    ("kv_cache_usage_perc", "gauge", "Share of the cache that running sequences take or will take; 1 is all of it."),
    ("prefix_cache_queries_total", "counter", "Prompt tokens looked up in the prefix cache."),
    ("prefix_cache_hits_total", "counter", "Prompt tokens found there."),
    ("prompt_tokens_total", "counter", "Prompt tokens of finished requests."),
    ("generation_tokens_total", "counter", "Completion tokens of finished requests."),
    ("request_success_total", "counter", "Finished requests."),
)


def text(batch: ContinuousBatch, engine: int, model: str) -> str:
    """All rows for replica number `engine`, which says that it serves `model`."""
    account, capacity = batch.account, batch.cache.capacity
    values = (
        account.running,
        account.queued,
        min(1.0, batch.reserved_tokens / capacity) if capacity else 0.0,
        account.prefix_tokens_asked,
        account.prefix_tokens_hit,
        account.prompt_tokens,
        account.completion_tokens,
        account.finished,
    )
    escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    labels = f'{{engine="{engine}",model_name="{escaped}"}}'
    lines = []
    for (name, kind, about), value in zip(_ROWS, values, strict=True):
        lines += [f"# HELP vllm:{name} {about}", f"# TYPE vllm:{name} {kind}", f"vllm:{name}{labels} {value}"]
    return "\n".join(lines) + "\n"
