"""Word tables for DICOM modality and body part, in English and Chinese.

A term in small letters is found in any case, one with a capital only as written. ``*`` stands for any further letters,
a blank also for a hyphen or nothing. Terms that speak of a patient's history as often as of a picture ("biopsy",
"colonoscopy") are left out, and so are those that say too little ("angle", "image").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Entry = tuple[str, tuple[str, ...]]
"""Codes that the terms may rightly be said of (none for phrases that only look like a name), and the terms."""


@dataclass(frozen=True)
class Names:
    """A word table that is searched for in one pass; of terms that match at one place the longest counts."""

    pattern: re.Pattern[str]
    fits: tuple[frozenset[str], ...]
    meant: tuple[str, ...]
    """The code that a term says first of all: the first of its entry, empty for phrases that only look like a name."""

    @classmethod
    def of(cls, *entries: Entry) -> Names:
        terms = [(term, number) for number, (_, terms) in enumerate(entries) for term in terms]
        terms.sort(key=lambda entry: -len(entry[0]))
        terms.sort(key=lambda entry: not entry[0].isascii())
        fits = tuple(frozenset(entries[number][0].split()) for _, number in terms)
        meant = tuple(next(iter(entries[number][0].split()), "") for _, number in terms)
        words = "|".join(f"({_regex(term)})" for term, _ in terms if term.isascii())
        characters = "|".join(f"({term})" for term, _ in terms if not term.isascii())
        # What all words need is asked once, not for each: most places in a text are no start of a word.
        pattern = rf"(?<![A-Za-z0-9])(?=[A-Za-z])(?:{words})(?![A-Za-z0-9])|(?=[^\x00-\x7f])(?:{characters})"
        return cls(re.compile(pattern), fits, meant)

    def in_text(self, text: str) -> list[frozenset[str]]:
        """What each name found in ``text`` may be said of."""
        return [self.fits[term] for term in self._found(text)]

    def only_one(self, text: str) -> str | None:
        """The one code that all names found in ``text`` can be said of and that one of them means; None without one.

        CT for "CT angiography", CHEST for "lungs and upper liver", None for "CT and MRI".
        """
        found = self._found(text)
        fitting = {self.meant[term] for term in found}
        for term in found:
            fitting &= self.fits[term]
        return fitting.pop() if len(fitting) == 1 else None

    def _found(self, text: str) -> list[int]:
        """The terms in ``text``, each once, without those that only look like a name."""
        groups = {match.lastindex or 0 for match in self.pattern.finditer(text)}
        return [group - 1 for group in groups if self.fits[group - 1]]


def _regex(term: str) -> str:
    words = re.escape(term).replace(r"\ ", "[ -]?").replace(r"\*", "[A-Za-z]*")
    return f"(?i:{words})" if term.islower() else words


MODALITIES = Names.of(
    ("OPT OCT IVOCT", ("optical coherence tomogra*", "OCT", "OCTA")),
    ("PT NM CT MR", ("PET", "PET CT", "PET/CT", "PET MR", "PET/MRI", "SPECT", "SPECT/CT", "positron emission*")),
    ("NM PT", ("scintigra*", "bone scan", "bone scans", "nuclear medicine", "gamma camera", "骨扫描")),
    ("CT PT NM", ("ct", "cts", "cta", "ctpa", "hrct", "cbct", "mdct", "cect", "ncct", "cat scan", "cat scans")),
    ("CT PT NM", ("computed tomogra*", "computerized tomogra*", "computerised tomogra*", "computed angiogra*")),
    (
        "MR PT",
        ("mri", "mris", "fmri", "mpmri", "mra", "mrv", "mrcp", "magnetic resonance", "flair", "dwi", "磁共振", "核磁"),
    ),
    ("MR PT", ("mr imag*", "mr angio*", "mr veno*", "mr scan", "mr exam*", "mr entero*", "mr spectro*")),
    ("MR PT", ("t1 weighted", "t2 weighted", "t1w", "t2w", "t1wi", "t2wi", "diffusion weighted")),
    ("US IVUS BDUS", ("ultraso*", "sonogra*", "echocardiogra*", "doppler", "hypoechoic", "hyperechoic", "anechoic")),
    ("US IVUS BDUS", ("US imag*", "US scan", "US exam*", "US of", "US shows", "超声", "彩超", "B超")),
    ("MG", ("mammogra*", "tomosynthesis", "钼靶")),
    ("RF XA DX CR RG", ("fluorosco*", "barium", "esophagogram")),
    ("XA RF", ("digital subtraction angiogra*", "DSA")),
    ("XA RF CT MR OP", ("angiogra*", "血管造影")),
    ("CR DX RG RF XA MG PX IO RTIMAGE", ("x ray", "x rays", "radiograph", "radiographs", "radiography", "radiogram*")),
    ("CR DX RG RF XA MG PX IO RTIMAGE", ("plain film", "plain films", "roentgen*", "cxr", "cxrs", "orthopantomogra*")),
    ("CR DX RG RF XA MG PX IO RTIMAGE", ("X线", "X光", "x线", "x光", "胸片", "平片")),
    (
        "SM GM",
        ("micrograph*", "photomicrograph*", "hematoxylin", "haematoxylin", "whole slide", "H&E", "H & E", "病理切片"),
    ),
    ("OP OPM OPT XC", ("fundus photo*", "fundus imag*", "retinal photo*", "retinal imag*", "fluorescein", "眼底照")),
    (
        "ES",
        (
            "endoscopic imag*",
            "endoscopic view*",
            "colonoscopic imag*",
            "gastroscopic imag*",
            "内镜图",
            "胃镜图",
            "肠镜图",
        ),
    ),
    ("DMS XC GM ES", ("dermoscop*", "dermatoscop*", "clinical photo*")),
)
"""Words for modalities with DICOM's codes (PS3.3 C.7.3.1.1.1)."""

REGIONS = Names.of(
    (
        "",
        (
            "other hand",
            "right hand side",
            "left hand side",
            "right handed",
            "left handed",
            "foot of",
            "head of the bed",
        ),
    ),
    (
        "HEAD NECK",
        ("head", "heads", "brain", "brains", "skull", "skulls", "crani*", "cerebr*", "cerebell*", "intracranial"),
    ),
    ("HEAD NECK", ("pituitary", "orbit", "orbital", "头颅", "头部", "颅", "脑")),
    (
        "HEAD JAW NECK",
        ("paranasal", "maxill*", "mandib*", "jaw", "jaws", "tooth", "teeth", "dental", "鼻窦", "颌", "牙"),
    ),
    ("NECK SPINE HEAD CHEST", ("neck", "cervical spine", "cervical vertebr*", "thyroid*", "laryn*", "carotid*")),
    ("NECK SPINE HEAD CHEST", ("颈部", "颈椎", "甲状腺")),
    ("CHEST BREAST SPINE", ("chest", "chests", "lung", "lungs", "pulmonary", "pneumonia*", "pneumothora*", "pleura*")),
    ("CHEST BREAST SPINE", ("heart", "hearts", "cardiac", "cardiomegaly", "cardiothoracic", "mediastin*", "hilar")),
    ("CHEST BREAST SPINE", ("thora*", "rib", "ribs", "bronch*", "trachea*", "coronary")),
    ("CHEST BREAST SPINE", ("胸", "肺", "心脏", "心影", "纵隔", "肋", "气管")),
    ("BREAST CHEST", ("breast", "breasts", "mammogra*", "axilla*", "乳腺", "乳房", "腋")),
    ("CHEST ABDOMEN", ("aort*", "esophag*", "oesophag*", "diaphragm*", "主动脉", "食管", "膈")),
    (
        "ABDOMEN CHEST",
        ("liver", "livers", "hepat*", "spleen", "splen*", "stomach", "gastric", "adrenal*", "gallbladder"),
    ),
    (
        "ABDOMEN CHEST",
        ("biliary", "kidney", "kidneys", "renal", "pancrea*", "head of the pancreas", "head of pancreas"),
    ),
    ("ABDOMEN CHEST", ("pancreatic head", "pancreatic neck", "gallbladder neck", "肝", "脾", "胃", "胆", "胰", "肾")),
    (
        "ABDOMEN PELVIS CHEST",
        ("abdom*", "bowel", "bowels", "colon", "colonic", "appendix", "appendicitis", "peritone*"),
    ),
    ("ABDOMEN PELVIS CHEST", ("mesenter*", "ileum", "jejun*", "duoden*", "腹", "肠", "阑尾")),
    (
        "PELVIS ABDOMEN HIP",
        ("pelvi*", "bladder", "bladder neck", "prostat*", "uterus", "uterine", "ovar*", "rectum", "rectal"),
    ),
    ("PELVIS ABDOMEN HIP", ("fetus", "fetal", "盆腔", "骨盆", "膀胱", "前列腺", "子宫", "宫颈", "卵巢", "直肠")),
    ("SPINE ABDOMEN PELVIS HIP", ("lumbar", "lumbosacral", "sacrum", "sacral", "sacroiliac", "腰椎", "骶")),
    (
        "SPINE NECK CHEST ABDOMEN PELVIS",
        ("spine", "spinal", "vertebra*", "disc herniation", "disc bulge", "脊柱", "脊髓", "椎"),
    ),
    (
        "HIP PELVIS LEG",
        ("hip", "hips", "femoral head", "femoral heads", "femoral neck", "acetabul*", "股骨头", "股骨颈", "髋"),
    ),
    ("LEG HIP KNEE PELVIS", ("femur", "femurs", "femoral", "thigh", "thighs", "股骨", "大腿")),
    ("KNEE LEG", ("knee", "knees", "patell*", "menisc*", "cruciate", "tibial plateau", "fibular head", "膝", "半月板")),
    ("LEG KNEE FOOT", ("tibia*", "fibula*", "lower leg", "left leg", "right leg", "胫骨", "腓骨", "小腿")),
    ("FOOT LEG", ("foot", "feet", "ankle", "ankles", "metatars*", "calcane*", "talus", "talar", "toe", "toes")),
    ("FOOT LEG", ("metatarsal head", "足部", "踝", "跟骨")),
    (
        "SHOULDER CHEST ARM",
        ("shoulder", "shoulders", "scapul*", "gleno*", "rotator cuff", "acromi*", "humeral head", "肩"),
    ),
    ("SHOULDER CHEST NECK", ("clavic*", "锁骨")),
    ("ARM SHOULDER ELBOW CHEST", ("humerus", "humeral", "肱骨")),
    ("ELBOW ARM", ("elbow", "elbows", "olecranon", "radial head", "肘")),
    ("ARM ELBOW HAND", ("forearm", "forearms", "distal radius", "ulna", "ulnar", "前臂", "桡骨", "尺骨")),
    ("HAND ARM", ("hand", "hands", "wrist", "wrists", "metacarp*", "metacarpal head", "scaphoid", "carpal", "thumb")),
    ("HAND ARM", ("手部", "手指", "腕")),
)
"""Words for regions and organs, with the regions whose images commonly show them."""

BODY_PARTS = {
    code: frozenset(regions.split())
    for codes, regions in (
        ("HEAD BRAIN SKULL ORBIT ORBITS EYE RETINA SINUS SINUSES FACE EAR IAC PITUITARY", "HEAD"),
        ("JAW MANDIBLE MAXILLA TEETH TOOTH ZYGOMA TMJ", "JAW HEAD"),
        ("HEADNECK", "HEAD NECK"),
        ("NECK THYROID CAROTID LARYNX", "NECK"),
        ("CHEST THORAX LUNG LUNGS RIB RIBS STERNUM MEDIASTINUM HEART CARDIAC CORONARY", "CHEST"),
        ("BREAST", "BREAST"),
        ("ABDOMEN KIDNEY LIVER PANCREAS GALLBLADDER SPLEEN STOMACH COLON BOWEL", "ABDOMEN"),
        ("PELVIS BLADDER PROSTATE UTERUS OVARY RECTUM", "PELVIS"),
        ("ABDOMENPELVIS", "ABDOMEN PELVIS"),
        ("CHESTABDOMEN", "CHEST ABDOMEN"),
        ("CHESTABDPELVIS", "CHEST ABDOMEN PELVIS"),
        ("CSPINE TSPINE LSPINE SSPINE CTSPINE TLSPINE LSSPINE SPINE SACRUM COCCYX", "SPINE"),
        ("HIP", "HIP"),
        ("LEG FEMUR THIGH TIBIA FIBULA CALF", "LEG"),
        ("KNEE PATELLA", "KNEE"),
        ("FOOT ANKLE TOE CALCANEUS", "FOOT"),
        ("SHOULDER CLAVICLE SCAPULA", "SHOULDER"),
        ("ARM HUMERUS RADIUS ULNA FOREARM", "ARM"),
        ("ELBOW", "ELBOW"),
        ("HAND WRIST FINGER THUMB", "HAND"),
    )
    for code in codes.split()
}
"""Words of DICOM's Body Part Examined (PS3.16 annex L, and the like) to the regions that such an image is of."""
