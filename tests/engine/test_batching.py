"""Batches that go on from the last one, and what ends that."""

from __future__ import annotations

from tests.engine.test_scheduler import Run, prompt
from tests.fakes.llama import text_alone


def test_a_decode_that_fails_among_others_that_go_on_changes_no_text():
    run = Run(n_slots=4)
    prompts = {i: prompt(i, length=20) for i in (1, 2, 3)}
    for i, tokens in prompts.items():
        run.submit(i, tokens, max_tokens=20)
    for _ in range(6):
        run.step()
    assert all(len(span.tokens) == 1 for batch in run.llama.batches[-3:] for span in batch)
    run.llama.poison = run.scheduler._running[1].tokens[-1]
    run.step()
    run.llama.poison = -1
    run.until_idle()
    assert not run.failed
    assert {i: run.text[i, 0] for i in prompts} == {i: text_alone(p, 20) for i, p in prompts.items()}
