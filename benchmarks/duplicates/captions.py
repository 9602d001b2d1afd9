"""Made-up radiology captions, one-word edits of some, and edits that change the finding. Seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

PARTS = {
    "study": "frontal chest radiograph|lateral chest radiograph|portable bedside film|contrast scan of the abdomen|"
    "unenhanced scan of the head|brain magnetic resonance study|knee magnetic resonance study|pelvic ultrasound|"
    "carotid duplex study|screening mammogram|whole body scintigram|coronary angiogram|lumbar spine study|"
    "wrist radiograph|renal ultrasound|barium swallow|temporal bone scan|hip radiograph|thyroid ultrasound|"
    "liver elastogram",
    "who": "gardener|teacher|retired miner|nurse|student|farmer|pilot|carpenter|baker|swimmer|violinist|bus driver|"
    "cook|welder|librarian|cyclist|dancer|fisherman|tailor|painter",
    "why": "persistent cough|weight loss|flank pain|chronic headache|a recent fall|night sweats|hoarse voice|"
    "joint swelling|abdominal cramps|shortness of breath|fever of unknown origin|dizziness on standing|"
    "difficulty swallowing|back pain|blurred vision|palpitations|haematuria|jaundice|numb fingers|fatigue",
    "lesion": "nodule|cyst|mass|opacity|calcification|ulcer|polyp|haematoma|lipoma|abscess|granuloma|adenoma|"
    "fracture line|plaque|stone|aneurysm|fibroma|osteophyte|diverticulum|hernia",
    "edge": "smooth contours|lobulated contours|spiculated contours|an indistinct border|a sclerotic rim|"
    "a thin capsule|fluid levels|a feeding vessel|a fatty centre|dense septations|a halo|radiating strands|"
    "punctate foci|a stalk|shadowing behind it|an echogenic core|a necrotic core|peripheral vessels|"
    "layering debris|gas bubbles",
    "site": "lung apex|kidney pole|frontal lobe|adrenal gland|femoral condyle|hepatic segment|thyroid lobe|"
    "breast quadrant|iliac fossa|carotid bulb|psoas muscle|maxillary sinus|parotid gland|pleural space|ovary|ureter|"
    "orbit|scapular tip|tibial plateau|hilar region",
    "absent": "pleural effusion|free air|bone destruction|midline shift|bowel obstruction|enlarged lymph node|"
    "vessel occlusion|soft tissue swelling|joint effusion|duct dilatation|mass effect|wall thickening|foreign body|"
    "pericardial fluid|cortical break|venous thrombus|skull fracture|ring enhancement|disc protrusion|biliary gas",
    "device": "feeding tube|central line|pacemaker lead|surgical clip|drainage catheter|hip prosthesis|dental implant|"
    "spinal rod|ureteral stent|chest tube|valve ring|insulin pump|nerve stimulator|bone screw|coil pack|"
    "mesh patch|tracheal cannula|gastric band|vena cava filter|cochlear implant",
    "advice": "a follow-up visit|biopsy under guidance|correlation with laboratory values|surgical consultation|"
    "another scan after treatment|comparison with outside films|antibiotic therapy|watchful waiting|"
    "endoscopic assessment|genetic counselling|physiotherapy|a contrast enhanced study|discussion at the board|"
    "referral to oncology|hydration and rest|stress testing|tissue sampling|dietary advice|blood cultures|"
    "dose adjustment",
}
_CHOICES = {name: text.split("|") for name, text in PARTS.items()}

_CLAUSES = (
    "the {study} of a {who} was obtained because of {why}",
    "it shows a {severity} {lesion} with {edge} at the {side} {site}, measuring {size} {unit}",
    "there is no {absent} near the {site}",
    "the level {level} appears {change} in comparison, and the disease corresponds to stage {stage}",
    "a {device} is seen close to the {site}",
    "attenuation is {sign} {size} units, and the referring doctor suggested {advice}",
)

_FEWEST_WORDS = 34
"""One changed word leaves a caption of 31 words 0.81 alike, one of 30 words 0.8, by its runs of three words."""

NEUTRAL = {
    "was obtained": "was acquired",
    "it shows": "it displays",
    "with": "showing",
    "near the": "around the",
    "appears": "looks",
    "corresponds": "belongs",
    "is seen": "is visible",
    "close to": "adjacent to",
    "referring": "treating",
    "doctor": "physician",
    "suggested": "recommended",
    "in comparison": "by comparison",
}
"""Words and others that say the same here; each changes one word of a caption."""

TURNED = {
    "side": ("left", "right"),
    "unit": ("mm", "cm"),
    "change": ("increased", "decreased"),
    "severity": ("mild", "severe"),
    "sign": ("<", ">"),
    "stage": ("II", "III"),
}
"""Words that change the finding when one takes the place of the other."""
MISSES = (*TURNED, "size", "level", "negation")


class Caption(NamedTuple):
    """A caption and what was filled in where a change turns the finding into another."""

    clauses: tuple[str, ...]
    values: dict[str, str]

    @property
    def text(self) -> str:
        filled = "; ".join(self.clauses).format(**self.values)
        return filled[0].upper() + filled[1:] + "."


class Planted(NamedTuple):
    """A text that was made from the caption of another number."""

    text: str
    base: int
    how: str
    """``edit`` for a duplicate, else what was changed."""


def captions(count: int, seed: int = 0) -> Iterator[Caption]:
    """Captions of 34 to 80 words: three to six clauses, their words drawn anew each time."""
    draw = random.Random(seed)
    kept = {name: "{" + name + "}" for name in (*TURNED, "size", "level")}
    for _ in range(count):
        clauses: list[str] = []
        while len(" ".join(clauses).split()) < _FEWEST_WORDS:
            chosen = draw.sample(_CLAUSES, draw.randint(3, 6))
            clauses = [
                clause.format(**{name: draw.choice(words) for name, words in _CHOICES.items()}, **kept)
                for clause in chosen
            ]
        values = {name: draw.choice(pair) for name, pair in TURNED.items()}
        values |= {"size": str(draw.randint(2, 9)), "level": f"T{draw.randint(2, 9)}"}
        yield Caption(tuple(clauses), values)


def edited(caption: Caption, base: int, draw: random.Random) -> Planted:
    """The caption with one neutral word changed."""
    text = caption.text
    old, new = draw.choice([(old, new) for old, new in NEUTRAL.items() if f" {old} " in text])
    return Planted(text.replace(f" {old} ", f" {new} ", 1), base, "edit")


def possible_misses(caption: Caption) -> list[str]:
    """What can be changed in a caption."""
    text = "; ".join(caption.clauses)
    return [how for how in MISSES if ("there is no " if how == "negation" else "{" + how + "}") in text]


def missed(caption: Caption, base: int, how: str) -> Planted:
    """The caption with its finding turned into another."""
    if how == "negation":
        return Planted(
            caption.text.replace("there is no ", "there is ").replace("There is no ", "There is "), base, how
        )
    old = caption.values[how]
    if how in TURNED:
        one, other = TURNED[how]
        new = other if old == one else one
    else:
        new = old.replace("T", "T1") if how == "level" else f"1{old}"
    return Planted(Caption(caption.clauses, caption.values | {how: new}).text, base, how)
