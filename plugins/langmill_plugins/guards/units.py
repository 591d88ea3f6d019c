"""Units of measure by their UCUM code: what they measure, how they convert, and the symbols that every language uses.

Factors are exact. Months and years are no number of days, so that 12 months are a year and 365 days are not. Mass and amount of
substance do not convert into one another: that takes the substance.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple


class Unit(NamedTuple):
    """What a unit measures, and how its values become values of the dimension's base unit: ``value * factor + offset``."""

    dimension: str
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)


def _prefixed(dimension: str, unit: str, prefixes: str) -> dict[str, Unit]:
    """A unit and its multiples: ``prefixes`` are words of _PREFIXES, parted by blanks."""
    return {unit: Unit(dimension)} | {prefix + unit: Unit(dimension, _PREFIXES[prefix]) for prefix in prefixes.split()}


_PREFIXES = {
    prefix: Fraction(10) ** power
    for prefix, power in {
        "G": 9,
        "M": 6,
        "k": 3,
        "d": -1,
        "c": -2,
        "m": -3,
        "u": -6,
        "n": -9,
        "p": -12,
        "f": -15,
    }.items()
}
_F = Fraction
_METRE, _POUND = Unit("length"), _F("453.59237")

UNITS: dict[str, Unit] = {
    **_prefixed("mass", "g", "k d c m u n p"),
    "t": Unit("mass", _F(10**6)),
    "[lb_av]": Unit("mass", _POUND),
    "[oz_av]": Unit("mass", _POUND / 16),
    "[stone_av]": Unit("mass", _POUND * 14),
    **_prefixed("volume", "L", "d c m u n p"),
    "m3": Unit("volume", _F(1000)),
    "dm3": Unit("volume"),
    "cm3": Unit("volume", _F(1, 1000)),
    "mm3": Unit("volume", _F(1, 10**6)),
    "[gal_us]": Unit("volume", _F("3.785411784")),
    "[foz_us]": Unit("volume", _F("3.785411784") / 128),
    "[tsp_us]": Unit("teaspoons"),
    "[tbs_us]": Unit("teaspoons", _F(3)),
    "[cup_us]": Unit("cups"),
    "[drp]": Unit("drops"),
    **_prefixed("length", "m", "k d c m u n p"),
    "[in_i]": Unit("length", _F("0.0254")),
    "[ft_i]": Unit("length", _F("0.3048")),
    "[yd_i]": Unit("length", _F("0.9144")),
    "[mi_i]": Unit("length", _F("1609.344")),
    "Ao": Unit("length", _F(1, 10**10)),
    "m2": Unit("area"),
    "cm2": Unit("area", _F(1, 10**4)),
    "mm2": Unit("area", _F(1, 10**6)),
    "km2": Unit("area", _F(10**6)),
    "[sft_i]": Unit("area", _F("0.3048") ** 2),
    "har": Unit("area", _F(10**4)),
    **_prefixed("amount", "mol", "k m u n p"),
    **_prefixed("equivalents", "eq", "m u"),
    **_prefixed("osmoles", "osm", "m"),
    # "10 U", "10 units" and "10 IU" stand for one another in translations: of insulin and of heparin they are the same.
    **_prefixed("units", "[IU]", "k M m u"),
    **_prefixed("units", "U", "k M m u"),
    **_prefixed("seconds", "s", "m u n"),
    "min": Unit("seconds", _F(60)),
    "h": Unit("seconds", _F(3600)),
    "d": Unit("seconds", _F(86400)),
    "wk": Unit("seconds", _F(7 * 86400)),
    "mo": Unit("months"),
    "a": Unit("months", _F(12)),
    "10.a": Unit("months", _F(120)),
    **_prefixed("energy", "J", "k M m"),
    "cal": Unit("energy", _F("4.184")),
    "kcal": Unit("energy", _F(4184)),
    **_prefixed("absorbed dose", "Gy", "c m u"),
    **_prefixed("equivalent dose", "Sv", "m u"),
    **_prefixed("activity", "Bq", "k M G"),
    **{f"{prefix}Ci": Unit("activity", factor * 37 * 10**9) for prefix, factor in (("", _F(1)), ("m", _F(1, 1000)), ("u", _F(1, 10**6)))},
    **_prefixed("pressure", "Pa", "k M"),
    # Two definitions that part in the seventh digit: mmHg converts to nothing but itself and Torr.
    "mm[Hg]": Unit("mmHg"),
    "cm[H2O]": Unit("cmH2O"),
    "[psi]": Unit("psi"),
    "bar": Unit("pressure", _F(10**5)),
    "mbar": Unit("pressure", _F(100)),
    "atm": Unit("pressure", _F(101325)),
    "Cel": Unit("temperature"),
    "[degF]": Unit("temperature", _F(5, 9), _F(-160, 9)),
    "K": Unit("temperature", _F(1), _F("-273.15")),
    "deg": Unit("angle"),
    "%": Unit("share", _F(1, 100)),
    "10*-1": Unit("share", _F(1, 10)),  # 割, 할
    "[ppth]": Unit("share", _F(1, 1000)),
    "[ppm]": Unit("share", _F(1, 10**6)),
    "[ppb]": Unit("share", _F(1, 10**9)),
    **_prefixed("frequency", "Hz", "k M G"),
    **_prefixed("voltage", "V", "k m u"),
    **_prefixed("current", "A", "m u"),
    **_prefixed("power", "W", "k M m"),
    **_prefixed("sound", "dB", ""),
    "[diop]": Unit("dioptres"),
    "[Ch]": Unit("french gauge"),
    "[Da]": Unit("molecular mass"),
    "k[Da]": Unit("molecular mass", _F(1000)),
    "/min": Unit("a minute"),
}  # fmt: skip
"""Known codes. A pack may use any other: it converts to nothing but itself."""

MEASURES = frozenset(
    {"mass", "volume", "amount", "equivalents", "osmoles", "units", "absorbed dose",
     "equivalent dose", "activity", "share", "mmHg"}
)  # fmt: skip
"""Dimensions of which a number without its unit says too little."""

SYMBOLS: dict[str, str] = {
    symbol: code
    for code, symbols in {
        "[IU]": "iu i.u. ui", "k[IU]": "kiu", "U": "u", "%": "%", "[ppth]": "‰", "[ppm]": "ppm",
        "[ppb]": "ppb", "[diop]": "dpt", "Cel": "°c oc ℃", "[degF]": "°f ℉", "deg": "°", "mm[Hg]": "mmhg torr", "cm[H2O]": "cmh2o",
        "ug": "μg ug mcg", "uL": "μl ul", "um": "μm um", "umol": "μmol umol", "us": "μs", "uU": "μu μiu", "uCi": "μci", "uGy": "μgy",
        "uSv": "μsv", "meq": "meq", "ueq": "μeq", "mosm": "mosm mosmol", "h": "h hr hrs", "min": "min mins", "s": "s sec secs",
        "wk": "wk wks", "mo": "mo", "a": "yr yrs", "[lb_av]": "lb lbs", "[oz_av]": "oz", "[in_i]": "in", "[ft_i]": "ft",
        "[mi_i]": "mi", "Ao": "å", "cm3": "cm3 cc", "[psi]": "psi", "[Da]": "da", "k[Da]": "kda", "Hz": "hz", "kHz": "khz",
        "MHz": "mhz", "m2": "m2 sqm", "bpm": "bpm", "mL": "ml", "mmol": "mmol mmols", "d": "d",
    }.items()
    for symbol in symbols.split()
}  # fmt: skip
_AS_WRITTEN = (
    "kg g mg ng pg L dL cL nL pL m3 mm3 dm3 km m cm mm nm cm2 mm2 km2 mol nmol pmol ms ns J kJ cal kcal Gy cGy mGy Sv mSv "
    "Bq kBq MBq GBq Ci mCi Pa kPa MPa bar mbar atm V kV mV mA W kW dB"
)
SYMBOLS |= {code.lower(): code for code in _AS_WRITTEN.split()}
"""What stands in any language for a unit, in lower case: its code."""

GLUED = frozenset({"in", "a", "u", "da", "mi", "mo", "w", "v", "j", "atm", "bar"})
"""Symbols that are words as well: they stand for a unit only right behind the digits, or before a slash."""


@lru_cache(maxsize=1 << 12)
def unit(code: str) -> Unit:
    """The unit of a code; one that is not known measures itself."""
    return UNITS.get(code) or Unit(code)


@lru_cache(maxsize=1 << 14)
def in_base(value: Fraction, code: str) -> tuple[str, Fraction]:
    """Dimension and value in its base unit, exact: ``1000 mg`` and ``1 g`` give the same, and so do 98.6 °F and 37 °C."""
    measure = unit(code)
    return measure.dimension, value * measure.factor + measure.offset
