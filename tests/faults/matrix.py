"""The fault matrix: F1 to F30, what must become of each, and the tests that hold errata to it.

R is asked again, counted under `retry_REASON` in run.json, and changes no row. Q is quarantined: a row of the config
`drops` with the code named here. Rows of parts that errata does not have say so.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One fault, its outcome, and where that is tested: files below tests/, and the beginning of the tests' names."""

    fault: str
    outcome: str
    tests: tuple[str, ...]


_REFUSALS, _CONNECTIONS = "faults/test_refusals.py", "faults/test_connections.py"
_REPLIES, _MACHINES = "faults/test_replies.py", "faults/test_machines.py"
_ENGINE = "engines/test_openai_faults.py"

MATRIX = {
    "F1": Row(
        "429 with Retry-After",
        "R after the time asked for, which closes the gate to all requests; one beyond the deadline stops the run",
        (f"{_REFUSALS}::test_f1_", f"{_ENGINE}::test_f1_"),
    ),
    "F2": Row(
        "429 without a header, five in a row",
        "R with jitter, uses up no try; for ever, the run stops",
        (f"{_REFUSALS}::test_f2_", f"{_ENGINE}::test_f2_"),
    ),
    "F3": Row(
        "500, 502, 503, 504, 529",
        "R within the budget, then Q engine_5xx",
        (f"{_REFUSALS}::test_f3_", f"{_ENGINE}::test_f3_"),
    ),
    "F4": Row("400, the context is too long", "no R; Q too_long", (f"{_REFUSALS}::test_f4_", f"{_ENGINE}::test_f4_")),
    "F5": Row(
        "401, 402, 403",
        "the run stops at once with nothing given up, and resumes",
        (f"{_REFUSALS}::test_f5_", f"{_ENGINE}::test_f5_", "engines/test_openai.py::test_f5_"),
    ),
    "F6": Row(
        "connection refused, no such host",
        "R; where nobody answers meanwhile the run stops with nothing given up, and resumes",
        (f"{_REFUSALS}::test_f6_", f"{_ENGINE}::test_f6_"),
    ),
    "F7": Row(
        "reset before, after and within headers and body",
        "R; no part of a text is taken; then Q connection or bad_envelope",
        (f"{_CONNECTIONS}::test_f7_", f"{_ENGINE}::test_f7_"),
    ),
    "F8": Row(
        "wrong Content-Length, cut JSON, a page of HTML, nothing",
        "R, then Q bad_envelope",
        (f"{_CONNECTIONS}::test_f8_", f"{_ENGINE}::test_f8_"),
    ),
    "F9": Row(
        "silence, or a byte every ten seconds",
        "R at half of the deadline, Q deadline at its end; the slot is free",
        (f"{_CONNECTIONS}::test_f9_", f"{_ENGINE}::test_f9_"),
    ),
    "F10": Row(
        "a straggler",
        "waited for up to the deadline, which bounds the run; R beyond it, never hedged; one record",
        (f"{_CONNECTIONS}::test_f10_", f"{_ENGINE}::test_f10_"),
    ),
    "F11": Row(
        "two replies to one request",
        "one record: the first that the journal holds",
        (f"{_CONNECTIONS}::test_f11_", f"{_CONNECTIONS}::test_f10_f11_"),
    ),
    "F12": Row(
        "finish_reason is length",
        "an attempt that is incomplete and unknown, in no row; a critique is Q truncated",
        (f"{_REPLIES}::test_f12_", f"{_ENGINE}::test_f12_"),
    ),
    "F13": Row(
        "max_tokens reached, and finish_reason is stop",
        "as F12, counted as flag_cut_unreported",
        (f"{_REPLIES}::test_f13_", f"{_ENGINE}::test_f12_f13_"),
    ),
    "F14": Row(
        "no text: empty, white space, only a thought, null",
        "R once with another seed, counted as flag_reseeded; then Q empty",
        (f"{_REPLIES}::test_f14_", f"{_ENGINE}::test_f14_"),
    ),
    "F15": Row(
        "a repetition loop",
        "Q loop: three copies and 192 characters or more at the end, or a text that deflates sixteen times",
        (f"{_REPLIES}::test_f15_", "engines/test_repetition.py::test_"),
    ),
    "F16": Row(
        "another number of choices, or another index",
        "n is always 1, so anything else is an error: R, then Q bad_envelope",
        (f"{_REPLIES}::test_f16_", f"{_ENGINE}::test_f8_f16_f19_"),
    ),
    "F17": Row(
        "another model's name, or a fingerprint that changes",
        "another name stops the run, and it resumes; a fingerprint is counted as flag_fingerprint_changed: datasets "
        "claim R0 and R2, and never R1",
        (f"{_REFUSALS}::test_f5_f17_", f"{_REPLIES}::test_f17_", f"{_ENGINE}::test_f17_"),
    ),
    "F18": Row(
        "half surrogates, NUL, bytes that are no UTF-8, byte order marks, bidi marks, 10 MB",
        "half surrogates and NUL become U+FFFD, counted as flag_surrogates; bidi marks stay, counted as flag_bidi, and "
        "`errata show` prints none; a byte order mark is borne; the others R, then Q bad_envelope",
        (f"{_REPLIES}::test_f18_", f"{_ENGINE}::test_f18_", "test_cli.py::test_what_a_model_wrote_cannot_reach_"),
    ),
    "F19": Row(
        "JSON that is malformed, fenced, followed by prose; keys twice, NaN, 5,000 digits, 100,000 levels",
        "an envelope: R, then Q bad_envelope; a reply that should be JSON: read strictly, never mended, Q parse",
        (f"{_REPLIES}::test_f18_f19_", f"{_REPLIES}::test_f19_", f"{_ENGINE}::test_f8_f16_f19_"),
    ),
    "F20": Row(
        "calls of tools",
        "errata has no tool calls yet and offers no tool: one that comes back is no text, as F14, and is neither "
        "recorded nor shown to the model",
        (f"{_REPLIES}::test_f20_",),
    ),
    "F21": Row(
        "usage missing, negative or wrong",
        "counted as flag_usage_missing (taken for 0) or flag_usage_wrong; no row depends on it. A remote model's "
        "tokenizer is not known, so only what cannot be is found: more than max_tokens, or none where there is text",
        (f"{_REPLIES}::test_f21_", f"{_ENGINE}::test_f21_"),
    ),
    "F22": Row(
        "logprobs that are no numbers or of another length",
        "errata asks for none and reads none; no row changes",
        (f"{_REPLIES}::test_f22_",),
    ),
    "F23": Row(
        "the engine's process is killed",
        "R; an actor is started again; no row changes",
        (
            f"{_MACHINES}::test_f23_",
            "engines/test_openai_endpoints.py::test_a_server_that_is_killed_loses_nothing",
            "runners/test_ray.py::test_actors_that_die_change_nothing",
        ),
    ),
    "F24": Row(
        "a prompt that kills the engine each time",
        "Q engine_death after three deaths of an actor, or Q connection of a server; the rest goes on",
        (
            "runners/test_replicas.py::test_a_prompt_that_kills_the_engine_",
            "engines/test_openai_endpoints.py::test_a_request_that_breaks_every_server_is_lost_alone",
        ),
    ),
    "F25": Row(
        "SIGKILL of a Ray worker, and of the driver",
        "the same command makes the same dataset, and asks again for what was under way; see benchmarks/kill_trials.py",
        (
            "runners/test_ray.py::test_actors_that_die_change_nothing",
            "runners/test_kill.py::test_killed_twenty_times_it_makes_the_same_dataset",
            "store/test_kill.py::test_killed_before_each_change_the_next_run_makes_the_same",
        ),
    ),
    "F26": Row(
        "disk full, I/O error, failed fsync",
        "the run stops with one line and nothing visible, and resumes; a failed fsync is never tried again",
        (
            "test_faults.py::test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room",
            "test_faults.py::test_a_disk_that_is_really_full",
            "store/test_faults.py::test_whatever_fails_no_half_version_is_seen",
            "engines/test_journal_faults.py::test_whatever_fails_the_run_stops_and_the_next_one_completes",
            "engines/test_journal_faults.py::test_a_failed_sync_is_fatal_",
        ),
    ),
    "F27": Row("the clock jumps by an hour", "no time-out, no row changes", (f"{_MACHINES}::test_f27_",)),
    "F28": Row(
        "the journal rots",
        "a damaged line is a miss, counted as journal_corrupted; its request alone is asked again",
        (f"{_MACHINES}::test_f28_", "engines/test_journal.py::test_a_flipped_bit_is_a_miss_and_is_counted"),
    ),
    "F29": Row(
        "a refusal, or a content filter",
        "a reply in the journal; Q refusal; not asked again",
        (f"{_REPLIES}::test_f29_", f"{_ENGINE}::test_f29_"),
    ),
    "F30": Row(
        "the sandbox fails",
        "errata runs no generated code yet. What it has, verifiers in processes of their own with a deadline, answers "
        "unknown when one hangs, dies or returns nonsense, and never fail",
        (
            "verifiers/test_pool.py::test_a_call_past_its_deadline_is_unknown_and_the_next_is_answered",
            "verifiers/test_pool.py::test_a_dead_process_is_unknown_and_replaced",
            "verifiers/test_pool.py::test_what_is_no_judgement_is_unknown",
        ),
    ),
}
