"""DICOM headers against the words of the text."""

from pathlib import Path
from typing import Any

import pytest
from hand_made import caption, conversation, measured, query, sample, stored
from support.pictures import distinct

from curate.corpus import Image, Sample
from curate.signals.pair import body_part_conflict, modality_conflict, region, visual_category


@pytest.mark.parametrize(
    ("text", "modality", "conflict"),
    [
        ("Axial CT of the head", "CT", False),
        ("Axial CT of the head", "MR", True),
        ("A large mass", "CT", None),
        ("ct scan", "CT", False),
        ("胸部CT显示结节", "CT", False),
        ("胸部CT显示结节", "DX", True),
        ("Chest X-ray", "DX", False),
        ("Chest x ray", "CR", False),
        ("Chest radiograph", "CT", True),
        ("radiographic findings", "CT", None),
        ("胸片", "CR", False),
        ("T2-weighted image", "MR", False),
        ("T2-weighted image", "CT", True),
        ("FLAIR sequence", "MR", False),
        ("MR angiography", "MR", False),
        ("Mr Smith coughs", "CT", None),
        ("磁共振", "CT", True),
        ("PET/CT shows uptake", "CT", False),
        ("PET/CT shows uptake", "US", True),
        ("Compared with MRI, CT shows less", "CT", False),
        ("Nodule in the right lung. CT is recommended.", "DX", None),
        ("Unchanged since the previous CT; the lungs are clear.", "DX", None),
        ("Nodule in the right lung. Further evaluation with CT. Sagittal MRI.", "DX", True),
        ("Compared with the previous CT, this CT is clear", "CT", False),
        ("Ultrasound of the liver", "US", False),
        ("US of the liver", "US", False),
        ("treated in the US", "CT", None),
        ("Doppler of the carotid", "CT", True),
        ("mammogram", "MG", False),
        ("optical coherence tomography", "CT", True),
        ("H&E stain", "SM", False),
        ("fundus photograph", "OP", False),
        ("CT", "OT", None),
        ("CT", "", None),
    ],
)
def test_modality(text: str, modality: str, conflict: bool | None) -> None:
    assert modality_conflict(text, modality) is conflict


@pytest.mark.parametrize(
    ("text", "body_part", "conflict"),
    [
        ("Chest radiograph", "CHEST", False),
        ("Radiograph of the knee", "CHEST", True),
        ("LEFT KNEE", "KNEE", False),
        ("no fracture of the femur", "CHEST", True),
        ("liver cyst", "CHEST", False),
        ("liver cyst", "KNEE", True),
        ("liver cyst", "CHESTABDPELVIS", False),
        ("femoral head necrosis", "HIP", False),
        ("femoral head necrosis", "HEAD", True),
        ("head of the pancreas", "ABDOMEN", False),
        ("head of the pancreas", "BRAIN", True),
        ("on the other hand", "CHEST", None),
        ("cervical spine", "CSPINE", False),
        ("fracture of the tibia", "LOWER LEG", False),
        ("brain metastasis", "HEART", True),
        ("a scar of the skin", "CHEST", None),
        ("chest", "EXTREMITY", None),
        ("chest", "", None),
        ("右肺结节", "CHEST", False),
        ("右肺结节", "HEAD", True),
        ("术后改变", "CHEST", None),
    ],
)
def test_body_part(text: str, body_part: str, conflict: bool | None) -> None:
    assert body_part_conflict(text, body_part) is conflict


@pytest.mark.parametrize(
    ("text", "modality", "category"),
    [
        ("", "CT", "CT"),
        ("", "DX", "XR"),
        ("", "CR", "XR"),
        ("MRI of the knee", "DX", "XR"),
        ("", "SM", "histology"),
        ("", "OP", "fundus"),
        ("Axial CT of the head", "", "CT"),
        ("Axial CT of the head", "OT", "CT"),
        ("Sagittal T2-weighted MRI", "", "MR"),
        ("Chest X-ray", "", "XR"),
        ("CT angiography of the aorta", "", "CT"),
        ("PET/CT shows uptake", "", "PT"),
        ("SPECT of the heart", "", "NM"),
        ("Chest radiograph. CT is recommended.", "", "XR"),
        ("CT and MRI of the liver", "", None),
        ("Photomicrograph, H&E stain", "", "histology"),
        ("眼底照", "", "fundus"),
        ("A nodule", "", None),
        ("", "", None),
    ],
)
def test_visual_category(text: str, modality: str, category: str | None) -> None:
    assert visual_category(text, modality) == category


@pytest.mark.parametrize(
    ("text", "body_part", "expected"),
    [
        ("", "CHEST", "CHEST"),
        ("", "BRAIN", "HEAD"),
        ("", "CHESTABDPELVIS", "CHEST+ABDOMEN+PELVIS"),
        ("Knee", "CHEST", "CHEST"),
        ("Chest radiograph, heart of normal size", "", "CHEST"),
        ("Chest radiograph", "EXTREMITY", "CHEST"),
        ("Radiograph of the knee", "", "KNEE"),
        ("cyst in the liver", "", "ABDOMEN"),
        ("fracture of the skull and of the ankle", "", None),
        ("on the other hand", "", None),
        ("", "", None),
    ],
)
def test_region(text: str, body_part: str, expected: str | None) -> None:
    assert region(text, body_part) == expected


def scan(modality: Any, body_part: Any) -> dict[str, Any]:
    return {"dicom": {"modality": modality, "body_part": body_part}}


def test_conflicts_of_samples(tmp_path: Path) -> None:
    image = stored(tmp_path / "curated", distinct(1))
    letters = (("A", "MRI"), ("B", "CT"))
    samples = [
        caption("Axial CT of the head", image, meta=scan("CT", "HEAD")),
        caption("Axial CT of the head.", image, meta=scan("MR", "KNEE")),
        caption("Axial CT of the head!", image),
        caption("A nodule", image, meta=scan("CT", "CHEST")),
        caption("CT head", image, meta=scan(None, 7)),
        caption("CT head.", image, meta={"dicom": "CT", "note": '"dicom"'}),
        conversation(image, "What is seen on this CT?", "A meniscal tear.", meta=scan("MR", "KNEE")),
        query(image, "Which modality is this?", "B", query_type="choice", choices=letters, meta=scan("MR", "")),
        query(image, "Which modality is it?", "A", query_type="choice", choices=letters, meta=scan("MR", "")),
        query(image, "Which modality?", "ct", meta=scan("CT", "")),
    ]
    rows = measured(tmp_path / "curated", *samples)
    assert [row["pair_modality_conflict"] for row in rows] == [
        *(False, True, None, None, None, None),
        *(True, True, False, False),
    ]
    assert [row["pair_body_part_conflict"] for row in rows] == [
        *(False, True, None, None, None, None),
        *(False, None, None, None),
    ]


def test_images_that_no_turn_shows(tmp_path: Path) -> None:
    one, two, three = (stored(tmp_path / "curated", distinct(number)) for number in range(3))

    def shown(*parts: Any, images: tuple[Image, ...]) -> Sample:
        return sample("conversation", images, ("user", parts), ("assistant", ("A retina.",)))

    rows = measured(
        tmp_path / "curated",
        shown(0, "What?", images=(one,)),
        shown(0, "What?", images=(one, two, three)),
        shown("What?", images=(one, two)),
        shown("What?", images=()),
        shown(0, 1, "And?", 0, images=(one, two)),
    )
    assert [row["pair_unplaced_images"] for row in rows] == [0, 2, 2, 0, 0]


def test_modality_and_body_part_of_samples(tmp_path: Path) -> None:
    image = stored(tmp_path / "curated", distinct(1))
    letters = (("A", "MRI"), ("B", "CT"))
    rows = measured(
        tmp_path / "curated",
        caption("Axial CT of the head", image),
        caption("A finding", image, meta=scan("DX", "HAND")),
        caption("A finding.", image),
        query(image, "Which modality is this?", "B", query_type="choice", choices=letters),
        query(image, "Is this a CT of the chest?", "No"),
        query(image, "Is this a CT of the chest?", "Yes"),
    )
    assert [(row["modality"], row["body_part"]) for row in rows] == [
        ("CT", "HEAD"),
        ("XR", "HAND"),
        (None, None),
        ("CT", None),
        (None, None),
        ("CT", "CHEST"),
    ]
