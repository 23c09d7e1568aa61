"""The bench's own arithmetic, its reading of streams, its load generator and its report."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from gguf import GGUFReader

from api_host.gguf_header import architecture_number, read_header
from api_host.models.demo import DEMO_MODEL_PATH
from bench.asking import Asked, answered, request
from bench.figures import gaps_within, percentile, ratio_of_pairs
from bench.load import Load, LoadFailed, http_post
from bench.marks import MARKS
from bench.memory import above_model, pss_without
from bench.models import SIZES, write_model
from bench.report import BEGIN, END, insert, render
from bench.results import Results, Run, Sample, TextCheck
from bench.servers import HOST, LLAMA_SERVER, ApiHostServer, LlamaServer
from bench.small_requests import post_many, post_with_selectors
from bench.sse import HttpAnswer
from tests.fakes.event_server import HEAD, EventServer, Piece, chunk

ANSWER = (
    HEAD
    + chunk(b'data: {"text": "caf\xc3\xa9"}\n\ndata: 1\ndata: 2\r\n\r\n')
    + chunk(b": keep-alive\n\nevent: st")
    + chunk(b"atus\ndata:x\n\n")
    + b"0\r\n\r\n"
)
EVENTS = [("", b'{"text": "caf\xc3\xa9"}'), ("", b"1\n2"), ("status", b"x")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(ANSWER)])
def test_an_answer_cut_into_pieces_of_any_size_gives_the_same_events(size: int) -> None:
    answer = HttpAnswer()
    for start in range(0, len(ANSWER), size):
        assert not answer.done
        answer.feed(start, ANSWER[start : start + size])
    assert answer.done and answer.status == 200
    assert [(event.name, event.data) for event in answer.events] == EVENTS


def test_an_answer_cut_in_two_at_any_byte_gives_the_same_events() -> None:
    for cut in range(len(ANSWER)):
        answer = HttpAnswer()
        answer.feed(0.0, ANSWER[:cut])
        answer.feed(1.0, ANSWER[cut:])
        assert [(event.name, event.data) for event in answer.events] == EVENTS, cut
        assert answer.done


def test_an_event_has_the_time_at_which_its_last_byte_came() -> None:
    answer = HttpAnswer()
    first_end = ANSWER.index(b"\n\ndata: 1") + 2
    answer.feed(1.0, ANSWER[: first_end - 1])
    answer.feed(2.0, ANSWER[first_end - 1 : first_end])
    answer.feed(3.0, ANSWER[first_end:])
    assert [event.time for event in answer.events] == [2.0, 3.0, 3.0]


def test_a_plain_answer_ends_by_its_length_or_with_the_connection() -> None:
    by_length = HttpAnswer()
    by_length.feed(0.0, b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngo")
    assert not by_length.done
    by_length.feed(0.0, b"ne")
    assert by_length.done and by_length.status == 404 and by_length.body == b"gone"
    by_close = HttpAnswer()
    by_close.feed(0.0, b"HTTP/1.1 200 OK\r\n\r\nall")
    by_close.close()
    assert by_close.done and by_close.body == b"all"


def words_with_pauses(pauses: list[float]) -> list[Piece]:
    """A host's answer: one word after each pause."""
    head: list[Piece] = [(0.0, HEAD)]
    words = [(pause, chunk(b'data: {"text": " word", "index": 0}\n\n')) for pause in pauses]
    usage = {"prompt_tokens": 2, "completion_tokens": len(pauses)}
    done = chunk(b"event: done\ndata: %b\n\n" % json.dumps({"usage": usage}).encode())
    return [*head, *words, (0.0, done + b"0\r\n\r\n")]


def test_the_load_generator_measures_first_token_and_gaps_of_streams_side_by_side() -> None:
    pauses = {"slow": [0.7, 0.03, 0.8, 0.03], "fast": [0.02, 0.02, 0.02, 0.02]}
    server = ApiHostServer()
    asked = [Asked(prompt, 4) for prompt in pauses]
    with (
        EventServer(lambda body: words_with_pauses(pauses[json.loads(body)["inputs"]])) as site,
        Load(site.port, timeout=10) as load,
    ):
        exchanges = load.send(*(request(server, one) for one in asked))
        load.run()
    slow, fast = (answered(server, *pair) for pair in zip(asked, exchanges, strict=True))
    assert slow.text == "word word word word"
    assert slow.first_token == pytest.approx(0.7, abs=0.5)
    assert gaps_within(slow.times, 0, slow.times[-1]) == pytest.approx([0.03, 0.8, 0.03], abs=0.5)
    assert fast.times[-1] < slow.times[0], "the fast stream does not wait for the slow one"


def test_a_load_can_go_on_after_a_condition_and_send_more() -> None:
    with (
        EventServer(lambda body: words_with_pauses([0.02, 0.02, 1.5])) as site,
        Load(site.port, timeout=10) as load,
    ):
        (first,) = load.send(http_post("/", b"{}"))
        load.run(until=lambda: first.n_events >= 2)
        assert not first.answer.done
        (second,) = load.send(http_post("/", b"{}"))
        load.run()
    assert first.answer.done and second.answer.done
    assert second.sent > first.answer.events[1].time


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([(0.0, HEAD + chunk(b"data: 1\n\n"))], "in the middle"),
        ([(0.0, b"HTTP/1.1 503 Busy\r\nContent-Length: 7\r\n\r\nloading")], "503: loading"),
        ([(0.0, HEAD), (2.5, b"")], "no answer within"),
    ],
)
def test_an_answer_that_is_not_whole_fails_the_load(pieces: list[Piece], reason: str) -> None:
    with EventServer(lambda body: pieces) as site, Load(site.port, timeout=1.5) as load:
        load.send(http_post("/", b"{}"))
        with pytest.raises(LoadFailed, match=reason):
            load.run()


def test_an_answer_with_fewer_tokens_than_asked_for_does_not_count() -> None:
    server = ApiHostServer()
    with EventServer(lambda body: words_with_pauses([0.0] * 3)) as site, Load(site.port) as load:
        exchanges = load.send(*[request(server, Asked("go", n)) for n in (3, 4)])
        load.run()
    assert len(answered(server, Asked("go", 3), exchanges[0]).times) == 3
    with pytest.raises(LoadFailed, match="asked for 4 tokens"):
        answered(server, Asked("go", 4), exchanges[1])


def plain(tokens: int) -> list[Piece]:
    body = b'{"tokens_predicted":%d,"stop":true}' % tokens
    return [(0.0, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)), (0.0, b"")]


def test_small_requests_are_sent_exactly_as_often_as_asked_over_connections_that_stay() -> None:
    bodies: list[bytes] = []
    lock = threading.Lock()

    def script(body: bytes) -> list[Piece]:
        with lock:
            bodies.append(body)
        return plain(1)

    with EventServer(script) as site:
        seconds = post_with_selectors(site.port, LlamaServer(Path()), [b'{"a":1}', b'{"b":2}'], 50, 4)
        assert site.n_requests == 50
    assert 0 < seconds < 10
    assert bodies.count(b'{"a":1}') == 25


@pytest.mark.skipif(
    shutil.which("wrk") is None, reason="wrk is not installed (Debian and Ubuntu: apt install wrk)"
)
def test_wrk_stops_with_the_last_answer_and_tells_its_time(tmp_path: Path) -> None:
    with EventServer(lambda body: plain(1)) as site:
        seconds = post_many(site.port, LlamaServer(Path()), [b'{"a":1}'], 60, 4, tmp_path)
        assert 60 <= site.n_requests < 60 + 4
    assert 0 < seconds < 10


@pytest.mark.parametrize("send", [post_with_selectors, post_many])
def test_small_requests_with_another_number_of_tokens_are_refused(send: object, tmp_path: Path) -> None:
    more = [tmp_path] if send is post_many else []
    with EventServer(lambda body: plain(2)) as site, pytest.raises(LoadFailed, match="llama-server"):
        send(site.port, LlamaServer(Path()), [b"{}"], 8, 2, *more)  # type: ignore[operator]


def test_the_99th_percentile_is_a_measured_value() -> None:
    assert percentile([float(i) for i in range(1, 101)], 0.99) == 99
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2


def test_gaps_count_when_they_overlap_the_window() -> None:
    times = [0.0, 1.0, 3.0, 3.5, 6.0]
    assert gaps_within(times, 2.0, 3.2) == [2.0, 0.5]


def test_a_ratio_is_taken_of_each_pair_before_the_median() -> None:
    ours, theirs = {0: 10.0, 1: 30.0, 2: 20.0}, {0: 5.0, 1: 40.0, 2: 20.0, 3: 1.0}
    assert ratio_of_pairs(ours, theirs) == 1.0
    assert ratio_of_pairs({0: 1.0}, {1: 1.0}) is None


def run_of(key: str, host: list[dict[str, float]], llama_server: list[dict[str, float]]) -> Run:
    run = Run("100m", key, f"workload {key}", "python -m bench", "2025-01-01 10:00", 0.1)
    for pair, figures in enumerate(host):
        run.samples.append(Sample(HOST, pair, figures))
    for pair, figures in enumerate(llama_server):
        run.samples.append(Sample(LLAMA_SERVER, pair, figures))
    return run


def test_a_mark_is_reached_or_missed_by_the_ratio_of_the_right_contender() -> None:
    run = run_of("4", [{"total_tps": 101.0}], [{"total_tps": 100.0}])
    to_llama_server, to_limit = MARKS["4"]
    value = to_llama_server.measured(run)
    assert value == 1.01 and to_llama_server.reached(value) and not to_llama_server.reached(0.99)
    assert to_limit.measured(run) is None


def test_the_mark_of_a_chat_is_its_worst_turn() -> None:
    ours = {"ttft_turn_01": 0.9, "ttft_turn_02": 1.2}
    run = run_of("chat", [ours], [{"ttft_turn_01": 1.0, "ttft_turn_02": 1.0}])
    (mark,) = MARKS["chat"]
    assert mark.measured(run) == 1.2
    assert not mark.reached(1.2) and mark.reached(1.0)


def test_the_report_shows_medians_ratios_and_marks() -> None:
    streams = run_of("8", [{"total_tps": v} for v in (300.0, 310.0, 290.0)], [{"total_tps": 200.0}] * 3)
    streams.texts.append(TextCheck(HOST, "under load", equal=13, of=16, near_ties=2, largest_gap=0.01))
    gaps = run_of("long", [{"gap_p99": 0.12}], [{"gap_p99": 0.2}])
    tables = render(Results({"CPU": "one"}, {"Python": "3.12"}, [streams, gaps]))
    assert "| workload 8 | 100m | all streams at least 1 of llama-server | 1.50 | reached |" in tables
    assert (
        "| workload long | 100m | gap, 99th percentile at most 0.5 of llama-server | 0.60 | **missed** |"
        in tables
    )
    assert "| workload 8 | 100m | all streams, tokens/s | 300 | 200 | - | - | 1.50 | - | - |" in tables
    assert "| workload long | 100m | gap, 99th percentile, ms | 120 | 200 |" in tables
    assert "| under load | 16 | 13 | 2 (within 0.01) | **1** |" in tables
    assert "CPU one" in tables and "`python -m bench`" in tables


def test_the_tables_replace_only_what_is_between_the_markers() -> None:
    document = f"# Performance\n\nWhy.\n\n{BEGIN}\nold\n{END}\n\nWhere the time goes.\n"
    changed = insert(document, "new")
    assert changed == document.replace("old", "new")
    assert insert("# Performance\n", "new") == f"# Performance\n\n{BEGIN}\nnew\n{END}\n"


def test_results_come_back_from_their_file_and_a_later_run_replaces_an_older_one(tmp_path: Path) -> None:
    results = Results({"CPU": "one"}, {}, [run_of("1", [{"ttft": 1.0}], []), run_of("4", [], [])])
    results.runs[0].texts.append(TextCheck(HOST, "under load", equal=1, of=2))
    results.save(tmp_path / "results.json")
    loaded = Results.load(tmp_path / "results.json")
    assert loaded == results
    loaded.replace(run_of("1", [{"ttft": 2.0}], []))
    assert [run.median(HOST, "ttft") for run in loaded.runs] == [2.0, None]


@pytest.mark.parametrize("repeated", [False, True])
def test_a_repeated_model_has_the_first_blocks_weights_in_all(tmp_path: Path, repeated: bool) -> None:
    path = tmp_path / "tiny.gguf"
    write_model(path, replace(SIZES["tiny"], repeated=repeated), DEMO_MODEL_PATH)
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    first, second = tensors["blk.0.attn_q.weight"], tensors["blk.1.attn_q.weight"]
    assert (first == second).all() == repeated
    assert (tensors["blk.0.ffn_gate.weight"] != tensors["blk.0.ffn_up.weight"]).any()
    assert architecture_number(read_header(path), "block_count") == 2


def test_memory_counts_every_mapping_but_the_models() -> None:
    smaps = (
        "7f00-7f01 r--s 00000000 08:01 12   /models/a b.gguf\nRss:  900 kB\nPss:  900 kB\nPss_Dirty: 5 kB\n"
        "7f02-7f03 rw-p 00000000 00:00 0\nRss:  70 kB\nPss:  60 kB\nPss_Dirty: 60 kB\n"
        "7f04-7f05 r-xp 00000000 08:01 13   /usr/lib/libc.so\nRss:  30 kB\nPss:  3 kB\n"
    )
    assert pss_without(smaps, "/models/a b.gguf") == 63 * 1024


def test_weights_that_nobody_maps_are_taken_off_by_the_size_of_their_file(tmp_path: Path) -> None:
    model = tmp_path / "a.gguf"
    model.write_bytes(bytes(10 * 1024))
    anonymous = "7f00-7f10 rw-p 00000000 00:00 0\nPss:                 64 kB\n"
    mapped = f"7f20-7f30 r--p 00000000 00:00 7 {model.resolve()}\nPss:                  8 kB\n"
    assert above_model([anonymous, anonymous], model) == 118 * 1024
    assert above_model([anonymous + mapped, anonymous], model) == 128 * 1024
