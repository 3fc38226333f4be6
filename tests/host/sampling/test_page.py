"""docs/sampling.md against the code: its tables and its example."""

import re

import parts

from motetrace_host.commands import retained_state, sampling_why
from motetrace_host.commands.shim_view import ShimView
from motetrace_host.core.sampling import threshold as thresholds
from motetrace_host.core.sampling.head import HeadSettings
from motetrace_host.core.sampling.reason import MEANING, Reason

PAGE = (parts.ROOT / "docs" / "sampling.md").read_text()


def test_the_table_of_reasons_is_the_enum() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (yes|no) \| (\w*) ?\| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (
            str(int(reason)),
            reason.word,
            "yes" if reason.keeps else "no",
            ("written" if reason is Reason.RATE else "erased") if reason.keeps else "",
            MEANING[reason],
        )
        for reason in Reason
    ]


def test_the_table_of_rates_is_the_arithmetic() -> None:
    rows = re.findall(r"([0-9/]+%?) \| `([0-9a-f]+)` ", PAGE)
    assert len(rows) == 6
    for rate, th in rows:
        assert thresholds.format_th(thresholds.of_rate(thresholds.parse_rate(rate))) == th


def test_the_example_of_why_is_what_is_printed() -> None:
    example = re.search(r"<!-- example: why -->\n```\n(.*?)```", PAGE, re.DOTALL)
    assert example
    shim = ShimView(
        HeadSettings(thresholds.of_rate(thresholds.parse_rate("1%"))),
        received=1204,
        head_counts={Reason.RATE: 14, Reason.OUTSIDE_RATE: 1190},
        otlp="http://jaeger:4318",
    )
    report = b'{"v":1,"nonce":"5f3a9c0d21","mode":"on","result":"applied","threshold":0,"left_s":590}'
    said = retained_state.read({"sampling/desired": b'{"mode":"on","rate":1,"for_s":600}', "sampling/reported": report})
    assert sampling_why.render("sensor-0042", sampling_why.stages(said, shim)) == example[1]
