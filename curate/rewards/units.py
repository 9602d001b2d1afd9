"""Units of measurement as a dimension and a factor, for comparing "35 mm" with "3.5 cm"."""

from __future__ import annotations

from typing import Final, NamedTuple


class Unit(NamedTuple):
    """A unit: values in it times ``factor`` are in the dimension's base unit."""

    dimension: str
    factor: float


_TABLE: Final = {
    "length": "m=1 dm=0.1 cm=1e-2 mm=1e-3 μm=1e-6 um=1e-6 nm=1e-9 meter=1 metre=1 centimeter=1e-2 centimetre=1e-2 "
    "millimeter=1e-3 millimetre=1e-3 micrometer=1e-6 micrometre=1e-6 micron=1e-6 "
    "米=1 厘米=1e-2 公分=1e-2 毫米=1e-3 微米=1e-6 纳米=1e-9",
    "area": "m2=1 cm2=1e-4 mm2=1e-6 平方米=1 平方厘米=1e-4 平方毫米=1e-6",
    "mass": "kg=1e3 g=1 mg=1e-3 μg=1e-6 ug=1e-6 mcg=1e-6 ng=1e-9 pg=1e-12 kilogram=1e3 gram=1 milligram=1e-3 "
    "microgram=1e-6 千克=1e3 公斤=1e3 克=1 毫克=1e-3 微克=1e-6 纳克=1e-9",
    "volume": "L=1 dL=0.1 cL=1e-2 mL=1e-3 μL=1e-6 uL=1e-6 nL=1e-9 fL=1e-15 cc=1e-3 m3=1e3 cm3=1e-3 mm3=1e-6 "
    "liter=1 litre=1 milliliter=1e-3 millilitre=1e-3 升=1 毫升=1e-3 微升=1e-6 立方厘米=1e-3",
    "time": "s=1 sec=1 second=1 ms=1e-3 μs=1e-6 min=60 minute=60 h=3600 hr=3600 hour=3600 d=86400 day=86400 "
    "wk=604800 week=604800 秒=1 毫秒=1e-3 分=60 分钟=60 小时=3600 天=86400 日=86400 周=604800",
    "calendar": "month=1 yr=12 y=12 year=12 月=1 个月=1 年=12 岁=12",
    "pressure": "Pa=1 kPa=1e3 mmHg=133.322 cmH2O=98.0665",
    "amount": "mol=1 mmol=1e-3 μmol=1e-6 umol=1e-6 nmol=1e-9 pmol=1e-12",
    "amount/volume": "M=1 mM=1e-3 μM=1e-6 uM=1e-6 nM=1e-9",
    "activity": "IU=1 U=1 mIU=1e-3 mU=1e-3",
    "dose": "Gy=1 cGy=1e-2 mGy=1e-3",
    "effective dose": "Sv=1 mSv=1e-3 μSv=1e-6",
    "radioactivity": "Bq=1 kBq=1e3 MBq=1e6 GBq=1e9 mCi=3.7e7 Ci=3.7e10",
    "magnetic field": "T=1 mT=1e-3",
    "voltage": "V=1 kV=1e3 mV=1e-3",
    "energy": "J=1 kJ=1e3 kcal=4184",
    "angle": "°=1 deg=1 degree=1 度=1",
    "temperature": "°C=1 degC=1 摄氏度=1",
    "temperature in Fahrenheit": "°F=1 degF=1 华氏度=1",
    "percentage": "%=1 percent=1",
    "attenuation": "HU=1",
    "body surface": "1.73m2=1",
    "/time": "Hz=1 bpm=0.016666666666666666",
    "": "1=1 beat=1 breath=1 次=1",
}
"""Dimension -> its units with their factors. The case of a symbol matters first (mM is not mm), then it is ignored."""

_UNITS: Final = {
    name: Unit(dimension, float(factor))
    for dimension, units in _TABLE.items()
    for name, _, factor in (unit.partition("=") for unit in units.split())
}
_ANY_CASE: Final[dict[str, Unit]] = {}
for _name, _unit in _UNITS.items():
    _ANY_CASE.setdefault(_name.casefold(), _unit)


def unit_of(text: str) -> Unit | None:
    """The unit that ``text`` (in compatibility form) spells: "mm", "Millimetres", "mg/dL", "/μL"; None if unknown."""
    text = text.replace(" per ", "/").removesuffix(" old").removesuffix("-old")
    above, *below = (part.replace(" ", "").removesuffix(".") for part in text.split("/"))
    unit = _simple(above) if above else Unit("", 1.0)
    for part in below:
        divisor = _simple(part)
        if unit is None or divisor is None:
            return None
        dimension = f"{unit.dimension}/{divisor.dimension}" if divisor.dimension else unit.dimension
        unit = Unit(dimension, unit.factor / divisor.factor)
    return unit


def _simple(name: str) -> Unit | None:
    folded = name.casefold()
    return _UNITS.get(name) or _ANY_CASE.get(folded) or _ANY_CASE.get(folded.removesuffix("s"))
