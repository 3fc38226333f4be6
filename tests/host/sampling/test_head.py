"""Promises of core/sampling/head.py: a fixed order, a reason for everything, and th only where odds alone decided."""

from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.sampling.head import UNKNOWN, HeadSampler, HeadSettings, SamplingPlan
from motetrace_host.core.sampling.reason import FIRST_KEEP, MEANING, Reason, attributes
from motetrace_host.core.sampling.threshold import ALWAYS, NEVER, of_rate, parse_rate, randomness
from motetrace_host.core.wire.trust import TrustPolicy

NOW = 1_760_000_000 * 10**9
SECOND_NS = 10**9
HALF, ONE_PERCENT = of_rate(parse_rate("50%")), of_rate(parse_rate("1%"))
THRESHOLDS = st.sampled_from([ALWAYS, HALF, ONE_PERCENT, NEVER]) | st.integers(0, NEVER)
SETTINGS = st.builds(
    HeadSettings,
    THRESHOLDS,
    st.integers(0, 3),
    st.integers(0, 3),
    st.just(UNKNOWN) | THRESHOLDS,
    st.just(100),
)
TRACE_IDS = st.binary(min_size=16, max_size=16)
FLAGS = st.integers(0, 255)
POLICIES = st.sampled_from(TrustPolicy)


def trace(random: int) -> bytes:
    return bytes(9) + random.to_bytes(7, "big")


def by_rate(plan: SamplingPlan, trace_id: bytes, flags: int) -> int:
    """The decision as the receive loop writes it out where the rate decides alone."""
    if flags & plan.required_flags != plan.required_flags:
        return Reason.UNSAMPLED
    return Reason.RATE if trace_id[9:] >= plan.threshold_bytes else plan.refusal


def th_of(plan: SamplingPlan, reason: int, random: int) -> int:
    """What `th` says of a message: where the rate kept it and R reaches the threshold."""
    return plan.th if reason == Reason.RATE and random >= plan.th else UNKNOWN


def target_end(sampler: HeadSampler, device: str) -> int:
    return sampler.plan(device).target_until_unix_ns


def reasons(sampler: HeadSampler, *messages: tuple[int, int], device: str = "d", policy: int = 0) -> list[Reason]:
    """Decide about messages (R, flags) of one device at one moment."""
    plan = sampler.plan(device, policy)
    return [Reason(sampler.decide(plan, trace(random), flags, NOW)) for random, flags in messages]


@given(SETTINGS, POLICIES, TRACE_IDS, FLAGS, st.none() | THRESHOLDS, st.none() | THRESHOLDS)
def test_where_the_rate_decides_alone_the_inlined_comparison_is_the_decision(
    settings: HeadSettings, policy: TrustPolicy, trace_id: bytes, flags: int, device: int | None, target: int | None
) -> None:
    sampler = HeadSampler(settings)
    if device is not None:
        sampler.device_samples_by("d", device)
    if target is not None:
        sampler.target("d", target, NOW + 1)
    plan = sampler.plan("d", policy)
    decision = sampler.decide(plan, trace_id, flags, NOW)
    if plan.rate_alone:
        assert by_rate(plan, trace_id, flags) == decision
        inlined = randomness(trace_id) >= plan.threshold and flags & plan.required_flags == plan.required_flags
        assert inlined is (decision >= FIRST_KEEP)
    else:
        assert settings.limit_per_s or settings.cap_per_minute or target is not None


@given(st.lists(st.tuples(st.integers(0, NEVER - 1), FLAGS), min_size=1, max_size=20), SETTINGS, THRESHOLDS)
def test_th_stands_for_exactly_what_the_rate_alone_would_have_kept(
    messages: list[tuple[int, int]], settings: HeadSettings, target: int
) -> None:
    """So counts made from th are right, whatever targets and caps add to the traces."""
    sampler = HeadSampler(settings)
    sampler.target("d", target, NOW + 1)
    plan = sampler.plan("d")
    for random, flags in messages:
        decision = sampler.decide(plan, trace(random), flags, NOW)
        th = th_of(plan, decision, random)
        alone = not settings.limit_per_s and flags & 1 and random >= settings.threshold
        known = settings.device_threshold
        if alone and known != UNKNOWN and random >= known:
            assert (decision, th) == (Reason.RATE, max(known, settings.threshold))
        else:
            assert th == UNKNOWN


@given(SETTINGS, TRACE_IDS, POLICIES)
def test_what_a_device_sampled_is_never_left_out_without_a_reason_that_says_so(
    settings: HeadSettings, trace_id: bytes, policy: TrustPolicy
) -> None:
    sampler = HeadSampler(settings)
    for _ in range(6):
        decision = sampler.decide(sampler.plan("d", policy), trace_id, 1, NOW)
        if decision < FIRST_KEEP:
            assert decision in (Reason.OUTSIDE_RATE, Reason.OVER_LIMIT, Reason.OVER_CAP)


def test_the_order_is_rate_target_flag() -> None:
    low, high, sampled = 0, NEVER - 1, 1
    sampler = HeadSampler(HeadSettings(ONE_PERCENT, cap_per_minute=2))
    assert reasons(sampler, (high, sampled), (high, 0)) == [Reason.RATE, Reason.UNSAMPLED]
    assert reasons(sampler, *[(low, sampled)] * 3) == [Reason.FLAG, Reason.FLAG, Reason.OVER_CAP]
    sampler.target("d", ALWAYS, NOW + 1)
    assert reasons(sampler, (high, sampled), (low, sampled), (low, 0)) == [
        Reason.RATE,
        Reason.TARGETED,
        Reason.TARGETED,
    ]
    sampler.untarget("d")
    assert reasons(sampler, (low, 0)) == [Reason.UNSAMPLED]


def test_a_targets_rate_and_time_bound_it() -> None:
    sampler = HeadSampler(HeadSettings(NEVER))
    sampler.target("d", HALF, NOW + 1)
    assert reasons(sampler, (HALF - 1, 1), (HALF, 0)) == [Reason.OUTSIDE_RATE, Reason.TARGETED]
    assert reasons(sampler, (HALF, 1), device="another") == [Reason.OUTSIDE_RATE]
    asked = [(HALF, NOW), (HALF - 1, NOW), (HALF, NOW + 1)]
    assert [sampler.targets("d", trace(random), at) for random, at in asked] == [True, False, False]
    sampler.target("d", HALF, NOW)
    assert reasons(sampler, (HALF, 0)) == [Reason.UNSAMPLED]
    sampler.expire(NOW)
    assert target_end(sampler, "d") == 0 and sampler.plan("d").rate_alone


def test_the_limit_holds_for_rate_and_flag_and_not_for_targets() -> None:
    sampler = HeadSampler(HeadSettings(HALF, limit_per_s=2, cap_per_minute=9))
    assert reasons(sampler, (HALF, 1), (HALF - 1, 1), (HALF, 1), (HALF - 1, 1)) == [
        Reason.LIMITED, Reason.FLAG, Reason.OVER_LIMIT, Reason.OVER_LIMIT,
    ]  # fmt: skip
    sampler.target("d", ALWAYS, NOW + 1)
    assert reasons(sampler, (HALF, 1), (0, 0)) == [Reason.TARGETED, Reason.TARGETED]
    plan = sampler.plan("d")
    assert sampler.decide(plan, trace(HALF), 1, NOW + 2 * SECOND_NS) == Reason.LIMITED


def test_a_cap_is_each_devices_own() -> None:
    sampler = HeadSampler(HeadSettings(NEVER, cap_per_minute=1))
    assert reasons(sampler, (0, 1), (0, 1), device="a") == [Reason.FLAG, Reason.OVER_CAP]
    assert reasons(sampler, (0, 1), (0, 0), device="b") == [Reason.FLAG, Reason.UNSAMPLED]


def test_where_the_host_makes_the_context_the_flag_is_not_asked() -> None:
    sampler = HeadSampler(HeadSettings(HALF, cap_per_minute=5))
    assert reasons(sampler, (HALF, 0), (0, 1), policy=TrustPolicy.RESAMPLE) == [Reason.RATE, Reason.OUTSIDE_RATE]
    assert sampler.plan("d", TrustPolicy.LINK).th == HALF


def test_a_device_of_unknown_odds_gets_no_th_and_one_of_known_odds_the_higher() -> None:
    ten = of_rate(parse_rate("10%"))
    sampler = HeadSampler(HeadSettings(HALF))

    def th(random: int) -> int:
        plan = sampler.plan("d")
        return th_of(plan, sampler.decide(plan, trace(random), 1, NOW), random)

    assert th(NEVER - 1) == UNKNOWN
    sampler.device_samples_by("d", ALWAYS)
    assert th(NEVER - 1) == HALF
    sampler.device_samples_by("d", ten)
    assert th(NEVER - 1) == ten
    assert th(HALF) == UNKNOWN  # the flag is there although R did not reach the device's threshold: it was forced
    sampler.device_samples_by("d", UNKNOWN)
    assert th(NEVER - 1) == UNKNOWN


def test_an_explicit_r_decides_instead_of_the_trace_id() -> None:
    sampler = HeadSampler(HeadSettings(HALF, device_threshold=ALWAYS))
    plan = sampler.plan("d")
    assert sampler.decide(plan, trace(0), 1, NOW, NEVER - 1) == Reason.RATE
    assert sampler.decide(plan, trace(NEVER - 1), 1, NOW, 0) == Reason.OUTSIDE_RATE


def test_devices_with_nothing_of_their_own_share_one_plan() -> None:
    sampler = HeadSampler(HeadSettings(HALF))
    assert sampler.plan("a") is sampler.plan("b")


def test_what_is_remembered_of_devices_is_bounded_and_counted() -> None:
    sampler = HeadSampler(HeadSettings(NEVER, max_devices=2))
    for device in ("a", "b", "c"):
        sampler.target(device, ALWAYS, NOW + 1)
        sampler.device_samples_by(device, HALF)
    assert [target_end(sampler, device) for device in "abc"] == [0, NOW + 1, NOW + 1]
    assert sampler.forgotten == 2


def test_each_reason_has_a_meaning_and_fits_a_byte() -> None:
    assert set(MEANING) == set(Reason)
    assert all(0 <= reason < 64 and reason.keeps is (reason >= FIRST_KEEP) for reason in Reason)
    assert attributes(Reason.RATE) == {"sampling.reason": "rate"}
    assert attributes(Reason.RATE, targeted=True) == {"sampling.reason": "rate", "sampling.priority": 1}
    assert attributes(Reason.COLD_START) == {"sampling.reason": "cold_start", "sampling.priority": 1}
