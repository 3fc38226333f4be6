"""`traced_azure_function` on recorded events: the face that the worker inspects, parents, links, async."""

from __future__ import annotations

import asyncio
import inspect
import typing
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from motetrace_host import stages
from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.functions import invocation, traced_azure_function
from tests.host.functions.recorded import (
    PARENT_ID,
    SECOND_PARENT_ID,
    SECOND_TRACE_ID,
    TRACE_ID,
    AzureContext,
    HttpRequest,
    HubEvent,
    attributes,
    event,
    hub_event,
    hub_events,
    ids,
    links,
)
from tests.host.stages.stage_recorder import KEY, Recorder

DEVICE = (TRACE_ID, PARENT_ID)
SECOND = (SECOND_TRACE_ID, SECOND_PARENT_ID)


def test_the_worker_sees_the_handlers_own_names_and_annotations() -> None:
    @traced_azure_function
    def clean(event: HubEvent, context: AzureContext) -> str:
        return "done"

    @traced_azure_function(name="clean")
    async def clean_async(events: list[HubEvent]) -> None:
        """Cleans."""

    assert list(inspect.signature(clean).parameters) == ["event", "context"]
    assert typing.get_type_hints(clean) == {"event": HubEvent, "context": AzureContext, "return": str}
    assert typing.get_type_hints(clean_async) == {"events": list[HubEvent], "return": type(None)}
    assert (clean.__name__, clean_async.__doc__) == ("clean", "Cleans.")
    assert not inspect.iscoroutinefunction(clean)
    assert inspect.iscoroutinefunction(clean_async)


def test_one_hub_message_is_continued_under_the_device_that_the_hub_authenticated(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBSITE_SITE_NAME", "plant")
    monkeypatch.setenv("WEBSITE_OWNER_NAME", "0a1b2c3d-0000-0000-0000-000000000000+plant-rg-westeuropewebspace")
    monkeypatch.setenv("WEBSITE_RESOURCE_GROUP", "plant-rg")
    monkeypatch.setenv("REGION_NAME", "West Europe")
    given, context = hub_event("azure_iothub_one"), AzureContext()

    @traced_azure_function(tracer_provider=recorder.provider)
    def clean(event: HubEvent, context: AzureContext) -> Any:
        invocation().fields_extracted = 1
        return event, context, invocation().payload

    assert clean(event=given, context=context) == (given, context, b'{"temp":3.82}')
    span = recorder.only
    assert (span.name, span.kind) == ("transform_store", SpanKind.SERVER)
    assert span.parent is not None and ids(span.parent) == DEVICE
    assert links(span) == [DEVICE]
    assert attributes(span) == {
        "function.name": "Clean",
        "faas.name": "plant/Clean",
        "function.cold_start": True,
        "faas.coldstart": True,
        "faas.trigger": "pubsub",
        "faas.invocation_id": "f0f3f5f7-0f2e-4c8e-9d52-5a3e4ab0c5ee",
        "cloud.provider": "azure",
        "cloud.platform": "azure.functions",
        "cloud.region": "West Europe",
        "cloud.account.id": "0a1b2c3d-0000-0000-0000-000000000000",
        "cloud.resource_id": "/subscriptions/0a1b2c3d-0000-0000-0000-000000000000/resourceGroups/plant-rg"
        "/providers/Microsoft.Web/sites/plant/functions/Clean",
        "device.id": "sensor-0042",
        "messaging.system": "eventhubs",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "transform.fields_extracted": 1,
    }


def test_a_seqref_is_derived_for_the_device_that_the_hub_authenticated(recorder: Recorder) -> None:
    traced_azure_function(tracer_provider=recorder.provider)(lambda event: None)(hub_event("azure_iothub_seqref"))
    expected = derive(KEY, "acme", "sensor-0042", bytes.fromhex("0123456789"), 0x11)
    parent = recorder.only.parent
    assert parent is not None and ids(parent) == (expected.trace_id.hex(), expected.span_id.hex())


def test_many_hub_messages_are_linked_and_each_gets_its_own_properties(recorder: Recorder) -> None:
    @traced_azure_function(tracer_provider=recorder.provider)
    async def clean(events: list[HubEvent]) -> int:
        for record in invocation().records:
            with record.transform_store():
                await asyncio.sleep(0)
        return len(events)

    given = hub_events("azure_iothub_many")
    assert asyncio.run(clean(events=given)) == 4
    *each, whole = recorder.spans
    assert whole.parent is None
    assert links(whole) == [DEVICE, SECOND, DEVICE]
    assert attributes(whole)["messaging.batch.message_count"] == 4
    assert [span.parent and ids(span.parent) for span in each] == [DEVICE, SECOND, DEVICE, None]
    assert [attributes(span)["device.id"] for span in each] == [
        "sensor-0042", "sensor-0043", "sensor-0042", "sensor-0042",
    ]  # fmt: skip
    assert [attributes(span)["messaging.message.id"] for span in each] == ["7", "8", "9", "10"]
    assert attributes(each[3])["trace.origin"] == "none:absent"


def test_properties_that_the_binding_left_as_json_are_read_too(recorder: Recorder) -> None:
    import json

    one = event("azure_iothub_one")
    metadata = one["metadata"] | {"Properties": json.dumps(one["metadata"]["Properties"])}
    given = HubEvent(one["body"], metadata, one["metadata"]["SystemProperties"])
    traced_azure_function(tracer_provider=recorder.provider)(lambda event: None)(given)
    parent = recorder.only.parent
    assert parent is not None and ids(parent) == DEVICE


def test_an_http_request_is_continued_and_its_query_stays_out(recorder: Recorder) -> None:
    @traced_azure_function(tracer_provider=recorder.provider)
    def ingest(req: HttpRequest) -> Any:
        return SimpleNamespace(status_code=503)

    ingest(req=HttpRequest(event("azure_http")))
    span = recorder.only
    assert span.parent is not None and ids(span.parent) == DEVICE
    told = attributes(span)
    assert (told["faas.trigger"], told["http.request.method"], told["url.path"]) == ("http", "POST", "/api/readings")
    assert told["http.response.status_code"] == 503 and span.status.status_code is StatusCode.ERROR
    assert told["function.name"] == told["faas.name"] == "ingest"
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("argument", "trigger"),
    [
        (SimpleNamespace(past_due=False), "timer"),
        ('{"traceparent":"00-0123456789000000110a0b0c0d0e0f10-aabbccdd00000011-03"}', "pubsub"),
        (b'{"temp":1}', "pubsub"),
        ("plain", "other"),
        ([], "other"),
        ([1], "other"),
        (None, "other"),
    ],
)
def test_other_triggers_are_told_by_what_they_can_do(recorder: Recorder, argument: Any, trigger: str) -> None:
    handler = traced_azure_function(tracer_provider=recorder.provider)(lambda first: first)
    assert handler(argument) is argument
    assert attributes(recorder.only)["faas.trigger"] == trigger
    assert (recorder.only.parent is not None) == ("traceparent" in str(argument))


def test_a_service_bus_message_carries_its_context_in_application_properties(recorder: Recorder) -> None:
    message = SimpleNamespace(
        get_body=lambda: b"x",
        application_properties={"Traceparent": f"00-{TRACE_ID}-{PARENT_ID}-03"},
    )
    traced_azure_function(tracer_provider=recorder.provider)(lambda message: None)(message)
    parent = recorder.only.parent
    assert parent is not None and ids(parent) == DEVICE
    assert attributes(recorder.only)["messaging.system"] == "servicebus"


class Hostile:
    """An event whose every property raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "hostile",
    [
        Hostile(),
        HubEvent("x", {"Properties": "{"}, {"SequenceNumber": 1}),
        HubEvent("x", {"Properties": [1]}, {"SequenceNumber": 1, "iothub-connection-device-id": 7}),
        [HubEvent("x", {"PropertiesArray": "[[" * 5000}, {"SequenceNumber": None})],
        [HubEvent("x", {"PropertiesArray": []}, {"SequenceNumber": 1})] * 2,
    ],
    ids=range(5),
)
def test_no_event_keeps_the_handler_from_its_work(recorder: Recorder, hostile: Any) -> None:
    handler = traced_azure_function(tracer_provider=recorder.provider)(lambda event: "done")
    assert handler(hostile) == "done"
    assert all(span.parent is None for span in recorder.spans)


def test_a_wrong_call_raises_what_the_handler_itself_would() -> None:
    def handler(event: Any) -> None: ...

    with pytest.raises(TypeError, match="unexpected keyword"):
        traced_azure_function(handler)(other=1)  # type: ignore[call-arg]


def test_concurrent_async_invocations_do_not_see_each_other(recorder: Recorder) -> None:
    @traced_azure_function(tracer_provider=recorder.provider)
    async def clean(event: HubEvent) -> None:
        mine = invocation()
        await asyncio.sleep(0)
        assert invocation() is mine
        with stages.db_write("influxdb", "write", tracer=recorder.tracer):
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(clean(hub_event("azure_iothub_one")), clean(hub_event("azure_iothub_seqref")))

    asyncio.run(both())
    functions = {ids(span) for span in recorder.spans if span.name == "transform_store"}
    writes = [span for span in recorder.spans if span.name == "db_write"]
    assert {span.parent and ids(span.parent) for span in writes} == functions
    assert len(functions) == len(writes) == 2


def test_an_exception_in_an_async_handler_marks_the_span_and_goes_on(recorder: Recorder) -> None:
    problem = ValueError("no field temp")

    @traced_azure_function(tracer_provider=recorder.provider)
    async def clean(event: HubEvent) -> None:
        await asyncio.sleep(0)
        raise problem

    with pytest.raises(ValueError, match="no field temp") as caught:
        asyncio.run(clean(hub_event("azure_iothub_one")))
    assert caught.value is problem
    assert attributes(recorder.only)["error.type"] == "ValueError"
