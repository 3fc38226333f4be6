"""What is done with contexts that come in: continued, resampled, linked or ignored, by topic; counted all the same."""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire

from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.core.mqtt.topics import TopicFilter
from motetrace_host.core.spans.span import Span
from motetrace_host.core.wire import binary_trailer
from motetrace_host.core.wire.trust import TrustPolicy, TrustRules
from motetrace_host.shim.build import DATABASE_NAME
from tests.host.app.conftest import Bench

MakeBench = Callable[..., Bench]

KEY = bytes(32)
NONCE = "0a01020304"
NUMBERED = f"00-{NONCE}0000000711111111111111-7f7e7d7c00000007-0"
FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
ALL = "devices/#"


def traceparent(text: str = NUMBERED, flags: int = 3) -> tuple[str, str]:
    return "traceparent", f"{text}{flags}"


def run(bench: Bench, *sent: tuple[Any, ...], **options: Any) -> Bench:
    """Let a shim read messages, each of these user properties."""
    for packet_id, pairs in enumerate(sent, 1):
        bench.send(packet_id, *pairs, **options)
    bench.pipeline.start()
    bench.pipeline.stop(0.5)
    assert "internal_error" not in bench.counters.rejected
    return bench


def publishes(bench: Bench) -> list[Span]:
    return [span for span in bench.spans() if span.name == "device_publish"]


def seen(bench: Bench) -> list[tuple[str, int]]:
    """The numbers that messages have."""
    return [(entry.record.boot_nonce.hex(), entry.record.seq) for entry in bench.messages() if entry.record.numbered]


@pytest.mark.parametrize("trust", [(), [(ALL, "continue")], [("devices/other/#", "off")]])
def test_by_default_a_trace_is_continued(make_bench: MakeBench, trust: list[tuple[str, str]]) -> None:
    bench = run(make_bench(trust=trust), (traceparent(),))
    (span,) = publishes(bench)
    assert span.trace_id.hex() == NUMBERED[3:35]
    assert span.links == ()
    assert "trace.trust" not in span.attributes


def test_under_link_a_numbered_message_gets_the_ids_of_its_seqref_and_a_link_to_what_came(
    make_bench: MakeBench,
) -> None:
    bench = run(make_bench(trust=[(ALL, "link")]), (traceparent(), ("tracestate", "mt=a:1f4,x=y")))
    device, broker = bench.spans()
    expected = derive(KEY, "", "s", bytes.fromhex(NONCE), 7)
    assert (device.trace_id, device.span_id, device.parent_id) == (*expected, None)
    assert (broker.trace_id, broker.parent_id, broker.links) == (*expected, ())
    (link,) = device.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (NUMBERED[3:35], NUMBERED[36:52])
    assert device.attributes["trace.origin"] == "traceparent"
    assert device.attributes["trace.trust"] == broker.attributes["trace.trust"] == "link"
    assert device.attributes["device.age_ms"] == 500, "how old the reading is says nothing about its trace"
    assert device.tracestate == broker.tracestate == "ot=th:0", "of the trace that is continued, only our own odds"
    assert seen(bench) == [(NONCE, 7)], "counting stays"


def test_a_link_carries_the_tracestate_of_what_it_links_to(make_bench: MakeBench) -> None:
    bench = run(make_bench(trust=[(ALL, "link")]), (traceparent(), ("tracestate", "x=y")))
    ((encoded,),) = bench.rows("SELECT span FROM span WHERE name = 'device_publish'")
    wire = Wire.FromString(encoded)
    assert [(link.trace_id.hex(), link.trace_state) for link in wire.links] == [(NUMBERED[3:35], "x=y")]
    assert wire.trace_state == "ot=th:0"


def test_under_link_a_foreign_message_gets_keyed_ids_of_what_was_received(make_bench: MakeBench) -> None:
    bench = run(make_bench(trust=[(ALL, "link")]), (traceparent(FOREIGN, 1),), payload=b"{}")
    (device,) = publishes(bench)
    topic = b"devices/s/telemetry"
    named = b"\x01s" + bytes.fromhex(FOREIGN[3:35] + FOREIGN[36:52]) + len(topic).to_bytes(2, "big") + topic + b"{}"
    key = blake2b(named, digest_size=16, person=b"motetrace.ledger").digest()
    digest = blake2b(b"\x00\x10" + key, digest_size=24, key=KEY, person=b"motetrace.root").digest()
    assert (device.trace_id, device.span_id, device.parent_id) == (digest[:16], digest[16:], None)
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in device.links] == [(FOREIGN[3:35], FOREIGN[36:52])]
    assert device.flags == 3, "its last 56 bits are as good as random"


def test_linked_ids_agree_between_shims_and_deliveries_and_differ_between_messages(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    one = make_bench(trust=[(ALL, "link")])
    for packet_id in (1, 2):
        one.send(packet_id, traceparent(FOREIGN), payload=b"1", dup=packet_id > 1)
        one.send(packet_id + 2, traceparent(), payload=b"1", dup=packet_id > 1)
    one.send(9, traceparent(FOREIGN), payload=b"2")
    run(one)
    other = Bench(tmp_path / "other" / DATABASE_NAME, trust=[(ALL, "link")])
    run(other, (traceparent(),), (traceparent(FOREIGN),), payload=b"1")
    ids = [span.trace_id for span in publishes(one)]
    assert len(ids) == len(set(ids)) == 3
    assert {span.trace_id for span in publishes(other)} < set(ids)
    assert sorted(entry.deliveries for entry in one.messages()) == [1, 2, 2]
    other.close()


@pytest.mark.parametrize("policy", ["link", "resample"])
def test_a_seqref_names_no_trace_so_its_own_is_derived_as_ever_and_the_host_decides(
    make_bench: MakeBench, policy: str
) -> None:
    bench = run(make_bench(trust=[(ALL, policy)]), (("seqref", f"{NONCE}-00000007-02"),))
    (device,) = publishes(bench)
    assert (device.trace_id, device.span_id) == derive(KEY, "", "s", bytes.fromhex(NONCE), 7)
    assert (device.links, device.attributes["trace.trust"]) == ((), policy)
    assert seen(bench) == [(NONCE, 7)]


def test_under_resample_the_trace_goes_on_and_the_devices_sampled_flag_does_not_count(make_bench: MakeBench) -> None:
    bench = run(make_bench(trust=[(ALL, "resample")]), (traceparent(flags=2),), (traceparent(FOREIGN, 0),))
    numbered, foreign = publishes(bench)
    assert (numbered.trace_id.hex(), numbered.flags) == (NUMBERED[3:35], 3)
    assert (foreign.trace_id.hex(), foreign.parent_id) == (FOREIGN[3:35], bytes.fromhex(FOREIGN[36:52]))
    assert foreign.flags == 1, "what a sender says of its random bits is passed on"
    assert {span.attributes["trace.trust"] for span in (numbered, foreign)} == {"resample"}
    assert seen(bench) == [(NONCE, 7)]


def test_under_off_a_context_is_as_if_absent_and_counted(make_bench: MakeBench) -> None:
    bench = make_bench(trust=[(ALL, "off")])
    bench.send(1, traceparent(), ("baggage", "k=v"))
    bench.send(2, ("seqref", f"{NONCE}-00000007-02"))
    bench.send(3, payload=b'{"seq":7}')
    bench.send(4)
    run(bench)
    assert [entry.origin for entry in bench.messages()] == ["none:off"] * 3 + ["none:absent"]
    assert seen(bench) == [], "a number that nobody believes makes no losses"
    assert bench.rows("SELECT * FROM rejection") == [("s", "context_ignored", 3)]
    assert NUMBERED[3:35] not in {span.trace_id.hex() for span in bench.spans()}
    assert {span.attributes["trace.trust"] for span in bench.spans()} == {"off"}
    assert not bench.rows("SELECT * FROM inferred_boot")


@pytest.mark.parametrize(
    ("policy", "tracestate", "baggage"),
    [("continue", "x=y", "k=v"), ("resample", "x=y", "k=v"), ("link", None, None), ("off", None, None)],
)
def test_a_republish_carries_what_the_policy_lets_through(
    make_bench: MakeBench, policy: str, tracestate: str | None, baggage: str | None
) -> None:
    sent = (traceparent(), ("tracestate", "x=y"), ("baggage", "k=v"), ("other", "stays"))
    bench = run(make_bench(republish=True, trust=[(ALL, policy)]), sent)
    ((_, _, pairs, _),) = bench.published
    carried = dict(pairs)
    (device,) = publishes(bench)
    assert carried.pop("traceparent") == f"00-{device.trace_id.hex()}-{device.span_id.hex()}-03"
    assert (carried.pop("tracestate", None), carried.pop("baggage", None)) == (tracestate, baggage)
    assert carried == {"other": "stays"}


def test_an_ignored_context_does_not_stay_in_what_is_republished(make_bench: MakeBench) -> None:
    bench = make_bench(republish=True, trailer=True, trust=[(ALL, "off")])
    bench.send(1, payload=f'{{"traceparent":"{NUMBERED}3","temp":1}}'.encode())
    context = b"\0\0" + bytes.fromhex(NUMBERED[3:35]) + b"\1" + bytes.fromhex(NUMBERED[36:52]) + b"\2\3"
    bench.send(2, payload=b"\1\2" + context + bytes((binary_trailer.check(context), len(context))) + b"\xf5\x4d")
    run(bench)
    assert [payload for _, payload, _, _ in bench.published] == [b'{"temp":1}', b"\1\2"]


def test_policies_hold_by_topic_and_the_first_that_matches_counts(make_bench: MakeBench) -> None:
    rules = [("site/7/#", "off"), ("site/+/{device_id}/data", "link"), ("site/#", "resample")]
    bench = make_bench(templates=["site/+/{device_id}/#", "own/{device_id}"], trust=rules)
    topics = ("site/7/s/data", "site/8/s/data", "site/8/s/other", "own/s")
    for packet_id, topic in enumerate(topics, 1):
        bench.send(packet_id, traceparent(FOREIGN), topic=topic)
    run(bench)
    assert [TrustPolicy(entry.extra.policy).word for entry in bench.messages()] == [
        "off",
        "link",
        "resample",
        "continue",
    ]


def test_messages_of_trusted_topics_keep_to_the_short_way(make_bench: MakeBench) -> None:
    bench = make_bench(templates=["a/{device_id}", "b/{device_id}"], trust=[("b/#", "link")])
    for packet_id, topic in enumerate(("a/s", "b/s"), 1):
        bench.send(packet_id, traceparent(), topic=topic)
    run(bench)
    topics = bench.device_topics
    assert [topics.find(topic).plain for topic in (b"a/s", b"b/s")] == [True, False]


def test_no_rule_is_continue() -> None:
    assert TrustRules([(TopicFilter("a/#"), TrustPolicy.OFF)]).policy("b") is TrustPolicy.CONTINUE
