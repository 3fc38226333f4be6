"""Cloud functions as a stage: one decorator, one `transform_store` span for each invocation.

    from motetrace_host.functions import invocation, traced_lambda

    @traced_lambda                                   # AWS; `traced_azure_function` for Azure
    def handler(event, context):
        fields = clean(event)
        invocation().fields_extracted = len(fields)

A batch (SQS, Kinesis, Event Hubs) is one span that links to every message in it, and a span for each message where the
handler asks for it:

        for record in invocation().records:
            with record.transform_store() as transform:
                transform.fields_extracted = len(clean(record.payload))

What the handler returns and raises is what the platform gets. No cloud SDK is needed: events are read by their shapes.

Reading order: `call` (what an event says, whatever the platform), `aws_events` and `azure_events` (shapes to calls),
`invocation` (the span) and `record` (the spans in a batch), `cold_start`, `flush`, `options`, then the
decorators: `aws_lambda`, `azure_functions`. The rules and bridges in front of a function: docs/cloud.md.
"""

from motetrace_host.functions.aws_events import RuleMembers
from motetrace_host.functions.aws_lambda import traced_lambda
from motetrace_host.functions.azure_functions import traced_azure_function
from motetrace_host.functions.invocation import Invocation, invocation
from motetrace_host.functions.record import FunctionRecord

__all__ = ["FunctionRecord", "Invocation", "RuleMembers", "invocation", "traced_azure_function", "traced_lambda"]
