"""Figures of a profile for a work: which runtime, which throughput of each scheme, and what stands in for none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from mlexport.errors import UsageError
from mlexport.estimate.work import Work
from mlexport.latency import FigureUsed
from mlexport.profile import Figure, Grade, Profile, Runtime, RuntimeTimes, Throughput
from mlexport.spec import Target

# From the least to the most uncertain
GRADES = (Grade.MEASURED, Grade.PUBLISHED, Grade.THIRD_PARTY, Grade.DERIVED, Grade.ASSUMED)
# Range of a figure that gives none and was only assumed
_ASSUMED_FACTOR = 2.0
# What stands in for a precision without a figure: the next one that weights are restored to
_INSTEAD: Mapping[str, Sequence[str]] = {
    "int4": ("int8", "f16", "f32"),
    "int8": ("f16", "f32"),
    "bf16": ("f16", "f32"),
    "f16": ("f32", "bf16"),
    "f32": ("bf16", "f16"),
}
_PREFIXES = (("int8", "int8"), ("int4", "int4"), ("q8", "int8"), ("q6", "int8"), ("q5", "int8"), ("q4", "int4"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Operations or bytes a second, with its range and where it is from.

    Attributes:
        by_rows: the same by rows of a product, or by tokens, ascending; empty where one figure holds for all.
        low, high: as factors of the value.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    by_rows: tuple[tuple[int, float], ...]
    grade: Grade
    source: str

    def at(self, rows: int) -> float:
        """The rate at so many rows: time of an operation, linear in the logarithm of the rows between two figures."""
        if not self.by_rows:
            return self.value
        if rows <= self.by_rows[0][0]:
            return self.by_rows[0][1]
        for (before, slow), (after, fast) in zip(self.by_rows, self.by_rows[1:], strict=False):
            if rows <= after:
                share = log(rows / before) / log(after / before)
                return 1 / ((1 - share) / slow + share / fast)
        return self.by_rows[-1][1]

    def used(self) -> FigureUsed:
        """As an estimate lists it."""
        value = self.value if not self.by_rows else max(rate for _, rate in self.by_rows)
        return FigureUsed(name=self.name, value=value, unit=self.unit, grade=self.grade.value, source=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an estimate rests on; seconds, bytes and operations a second.

    Attributes:
        products: scheme -> operations a second (10^12).
        bandwidth: of weights, GB/s; None where they stay in a cache, or where nothing is known.
        cached: whether the weights fit the unit's cache.
        attention: operations a second (10^12).
        between: GB/s of activations; None where the products' own throughput has that in it.
        step_us, call_ms: None where nothing is known.
        warnings: what stands in for a figure that is not there.
    """

    runtime: Runtime
    products: Mapping[str, Rate]
    bandwidth: Rate | None
    cached: bool
    attention: Rate
    between: Rate | None
    step_us: Rate | None
    call_ms: Rate | None
    warnings: tuple[str, ...]

    def all(self) -> tuple[Rate, ...]:
        """Each figure once."""
        rest = (self.bandwidth, self.attention, self.between, self.step_us, self.call_ms)
        found = [*self.products.values(), *(rate for rate in rest if rate is not None)]
        return tuple({(rate.name, rate.source): rate for rate in found}.values())

    @property
    def weakest(self) -> Grade:
        """The grade of the most uncertain figure."""
        return max((rate.grade for rate in self.all()), key=GRADES.index)


def runtime_for(profile: Profile, target: Target) -> Runtime:
    """The runtime of a unit that takes a target.

    Raises:
        UsageError: none does.
    """
    found = next((one for one in profile.unit.runtimes if target.value in one.targets), None)
    if found is None:
        known = sorted({name for one in profile.unit.runtimes for name in one.targets})
        takes = f"it takes {', '.join(known)}" if known else "its runtimes take no target of mlexport yet"
        raise UsageError(f"{profile.name} has no runtime for target {target}: {takes}")
    return found


def figures_for(profile: Profile, work: Work) -> Figures:
    """What the profile says about the work's parts.

    Raises:
        UsageError: no runtime takes the target, or there is no throughput at all.
    """
    runtime = runtime_for(profile, work.target)
    times = profile.unit.times.get(runtime.name)
    schemes = sorted({product.scheme for product in work.products})
    warnings: list[str] = []
    products = {scheme: _product_rate(profile, runtime, times, scheme, warnings) for scheme in schemes}
    cache = profile.unit.cache_mb
    return Figures(
        runtime=runtime,
        products=products,
        bandwidth=_bandwidth(profile),
        cached=cache is not None and work.weight_bytes <= cache.value * 1e6,
        attention=_attention(profile, runtime, times, products, warnings),
        between=None if times is None else _rate("between products", "GB/s", times.between_gb_s),
        step_us=None if times is None else _rate("step", "µs", times.step_us),
        call_ms=_call(profile, times),
        warnings=tuple(warnings),
    )


def precision_of(scheme: str) -> str:
    """The precision of a profile that a scheme is multiplied in."""
    return next((precision for prefix, precision in _PREFIXES if scheme.startswith(prefix)), _plain(scheme))


def _plain(scheme: str) -> str:
    return "int4" if scheme.startswith("iq4") else scheme


def _product_rate(
    profile: Profile, runtime: Runtime, times: RuntimeTimes | None, scheme: str, warnings: list[str]
) -> Rate:
    if times is not None and scheme in times.schemes:
        return _rate(f"products {scheme}", "TFLOP/s", times.schemes[scheme])
    wanted = _computed(profile, precision_of(scheme))
    unit = profile.unit
    for precision in (wanted, *_INSTEAD.get(wanted, ())):
        for key in (f"{runtime.name}/{precision}", precision):
            if key in unit.effective:
                if precision == wanted:
                    return _rate(f"throughput {key}", "TFLOP/s", unit.effective[key])
                warnings.append(f"no throughput of {wanted} in {profile.name}: {precision} stands in for it")
                return _rate(f"throughput {key} for {wanted}", "TFLOP/s", unit.effective[key], Grade.ASSUMED)
    known = ", ".join(unit.effective) or "none"
    raise UsageError(
        f"{profile.name} has no effective throughput for {scheme} (it has: {known}): measure with `mlexport bench`, "
        "or add a figure under `effective` in a copy (mlexport profiles cp)"
    )


def _computed(profile: Profile, precision: str) -> str:
    """Units other than CPUs compute f32 files in f16."""
    return "f16" if precision == "f32" and profile.unit.kind == "npu" else precision


def _attention(
    profile: Profile,
    runtime: Runtime,
    times: RuntimeTimes | None,
    products: Mapping[str, Rate],
    warnings: list[str],
) -> Rate:
    """Attention is computed in floating point, whatever the weights are stored in."""
    if times is not None:
        return _rate("attention", "TFLOP/s", times.attention)
    if not products:
        raise UsageError("a model without a matrix product is not estimated")
    ignored: list[str] = []
    for scheme in ("f16", "f32"):
        for key in (f"{runtime.name}/{scheme}", scheme):
            if key in profile.unit.effective:
                return _product_rate(profile, runtime, None, scheme, ignored)
    return next(iter(products.values()))


def _bandwidth(profile: Profile) -> Rate | None:
    own, peak = profile.unit.bandwidth_gb_s, profile.device.memory.bandwidth_gb_s
    if own is not None:
        return _rate("bandwidth", "GB/s", own)
    return None if peak is None else _rate("peak bandwidth", "GB/s", peak)


def _call(profile: Profile, times: RuntimeTimes | None) -> Rate | None:
    if times is not None:
        return _rate("call", "ms", times.call_ms)
    found = profile.unit.overhead_ms
    return None if found is None else _rate("overhead", "ms", found)


def _rate(name: str, unit: str, figure: Figure, grade: Grade | None = None) -> Rate:
    grade = grade or figure.grade
    spread = _ASSUMED_FACTOR if grade is Grade.ASSUMED else 1.0
    by_rows = figure.by_tokens if isinstance(figure, Throughput) else {}
    return Rate(
        name=name,
        unit=unit,
        value=figure.value,
        low=1 / spread if figure.low is None else figure.low / figure.value,
        high=spread if figure.high is None else figure.high / figure.value,
        by_rows=tuple(sorted(by_rows.items())),
        grade=grade,
        source=figure.source,
    )
