"""The stages after the shim, each one span: rule engine, function, database client.

    from motetrace_host import stages

    stages.configure(key_file="motetrace.key")                 # only needed for seqref devices

    def on_message(client, userdata, message):                 # rule engine
        with stages.rule_evaluate(message, name="too-hot", action="republish") as rule:
            rule.matched = temperature(rule.payload) > 80
            if rule.matched:
                rule.publish(client, "rules/store", qos=1)     # injects by itself

    with stages.transform_store(message, name="clean") as transform:        # function
        fields = clean(transform.payload)
        transform.fields_extracted = len(fields)
        with stages.db_write("influxdb", "write"):                          # database client
            write(fields)

    stages.configure(report=client, reporter="store-function")  # count every message here, and tell the shim

Spans are made with the OpenTelemetry API alone: the SDK that the application sets up decides where they go, and without
one the context is still passed on. An exception inside a stage marks its span as failed and goes on to the caller.

With `report`, every message is counted at its hop, sampled or not, so that the shim can say where the others were lost;
a rule that did not match filters, an exception or `fail` fails (docs/hop-reports.md).

Reading order: `incoming` (message to context), `outgoing` (context to message), `stage` (what all three share), then
`rule`, `transform`, `database`; `settings` says how a seqref finds its key, and who reports. What is counted goes from
`hop_tally` through `report_outbox` to a `report_sink`; `reporting` holds them together.
"""

from motetrace_host.stages.database import DbWrite, db_write
from motetrace_host.stages.incoming import Message, extract
from motetrace_host.stages.outgoing import inject, inject_json
from motetrace_host.stages.reporting import flush_reports
from motetrace_host.stages.rule import RuleEvaluate, rule_evaluate
from motetrace_host.stages.settings import configure
from motetrace_host.stages.transform import TransformStore, transform_store

__all__ = [
    "DbWrite",
    "Message",
    "RuleEvaluate",
    "TransformStore",
    "configure",
    "db_write",
    "extract",
    "flush_reports",
    "inject",
    "inject_json",
    "rule_evaluate",
    "transform_store",
]
