"""Words that a finding depends on: two texts that differ in one of them are no duplicates. English, and Chinese by
single characters. Rather a word too many: it keeps two texts apart that say the same, one too few loses a finding."""

from __future__ import annotations


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


DENYING = _words(
    "no not without non none neither nor never cannot absent absence lack lacks lacking negative exclude excludes",
    "excluded excluding except deny denies denied unlikely isnt arent wasnt werent doesnt dont didnt hasnt havent",
    "hadnt cant couldnt wont wouldnt",
    "无 未 不 否 非 没 勿 莫 排 除",
)
"""Negations. What is denied belongs to them: the next two words count too."""

SIDES = _words(
    "left right l r lt rt bilateral bilaterally unilateral unilaterally ipsilateral contralateral leftsided rightsided",
    "leftward rightward both either od os ou",
    "左 右 双 两",
)
"""Laterality. The next word counts too."""

TELLING = _words(
    # severity and extent
    "mild mildly minimal minimally slight slightly trace small moderate moderately marked markedly severe severely",
    "large massive extensive tiny subtle gross grossly low high lower higher lowest highest partial partially complete",
    "completely total subtotal diffuse focal multifocal acute subacute chronic",
    # change
    "increase increased increases increasing decrease decreased decreases decreasing enlarged enlarging enlargement",
    "shrunken reduced elevated raised depressed worse worsened worsening improved improving improvement progressed",
    "progressive progression regressed regression resolved resolving resolution new newly old stable unchanged changed",
    # presence and certainty
    "present presence positive normal normally abnormal abnormality abnormally intact disrupted benign malignant",
    "malignancy possible possibly probable probably likely definite definitely suspected confirmed rule ruled yes true",
    "false impaired free",
    # order and comparison
    "before after prior previous pre post more less greater fewer than over under above below",
    # place
    "upper middle lower superior inferior anterior posterior medial lateral proximal distal central peripheral",
    "internal external ventral dorsal cranial caudal apical basal basilar ascending descending transverse axial",
    "coronal sagittal intra extra infra supra cervical thoracic lumbar sacral frontal parietal temporal occipital",
    # sex and number
    "male female man woman boy girl men women one two three four five six seven eight nine ten eleven twelve first",
    "second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth single solitary double triple",
    "multiple several few numerous half quarter twice once ii iii iv vi vii viii ix xi xii",
    # vessels and phases
    "arterial venous systolic diastolic",
    # words that a prefix denies
    "asymmetric asymmetrical asymmetry asymptomatic atypical irregular incomplete inactive immature insufficient",
    "inadequate indistinct inconsistent invisible incompetent",
    # severity, change, presence, place, sex, numerals
    "轻 中 重 大 小 多 少 增 减 升 降 高 低 粗 细 急 慢 阳 阴 良 恶 正 异 有 是 上 下 前 后 内 外 近 远 男 女",
    "一 二 三 四 五 六 七 八 九 十 百 千 半 单 期 级",
)
"""Words that count by themselves."""

TELLING_STARTS = ("hypo", "hyper", "iso", "non", "un")
"""How words begin that deny or grade another one: hypodense, nondisplaced, unremarkable."""

UNITS = _words(
    "mm cm dm km m µm μm um nm ml cl dl µl μl ul l mg kg g µg μg ug mcg ng pg iu u meq mosm mmol µmol μmol umol nmol",
    "pmol mol mmhg cmh2o kpa bpm hz khz mhz ghz kev kv kvp mas ma tesla t cgy gy msv sv mbq gbq bq mci hu suv mp px",
    "years year yrs yr yo y months month mos mo weeks week wks wk days day d hours hour hrs hr h minutes minute mins",
    "min seconds second secs sec s ms fold times f fr ppm db dpt",
)
"""What belongs to a number that stands before it."""
