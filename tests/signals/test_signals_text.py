"""Signals of text, each both ways: on text it must find and on text it must leave alone."""

from pathlib import Path

import pytest
from hand_made import caption, conversation, document, measured, query, sample, stored
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pictures import distinct

from curate.corpus import Image
from curate.signals.endings import cut_off
from curate.signals.mentions import missing_images
from curate.signals.pair import body_part_conflict, modality_conflict
from curate.signals.text import language, repetition


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return stored(tmp_path / "curated", distinct(1))


@pytest.mark.parametrize(
    "text",
    [
        "Axial CT of the head",
        "Pneumothorax",
        "Normal",
        "CT abdomen and pelvis with contrast",
        "A",
        "hepatitis a",
        "Vitamin A",
        "Estrogen receptor ER+",
        "Receptors ER-/PR-",
        "CD20-",
        "The lesion is 3 in",
        "What is the abnormality?",
        "which side is the lesion on",
        "what organ is this in",
        "Chest radiograph (posteroanterior view)",
        'She said "no pain"',
        "Figure 2. Axial CT showing a large mass in the liver with central necrosis and calcification",
        "Findings were discussed with Dr. Smith by telephone on Monday at noon",
        "The lungs are clear. The heart is normal. No effusion.",
        "Mild cardiomegaly. No effusion",
        "1. Cardiomegaly.\n2. Pleural effusion of moderate size on the left",
        "**Answer: B**",
        "<think>The opacity is dense.</think><answer>B</answer>",
        "OPERATING ROOM OR",
        "LEFT LOWER LOBE PNEUMONIA",
        "胸部正位片",
        "右肺下叶结节",
        "图像正常的",
        "未见异常存在",
        "氧饱和",
        "双肺纹理清晰。心影不大。未见异常",
        "双肺纹理清晰，心影大小正常。",
        "",
        "   \n",
    ],
)
def test_finished_texts_are_not_cut_off(text: str) -> None:
    assert not cut_off(text)


@pytest.mark.parametrize(
    "text",
    [
        "Axial CT of the",
        "Chest radiograph showing a mass in the left upper lobe and",
        "Axial image,",
        "The findings are:",
        "Right upper lobe mass (arrow",
        "Follow-",
        "A mass in the liver -",
        "There is a large…",
        "There is a large...",
        "Mass seen on e.g.",
        "The patient was seen by Dr.",
        "Is there evidence of a",
        "The lungs are clear. The heart is of normal size. There is a nodule in the left upp",
        "The heart is normal. There is a rounded opacity in the right lower lobe that meas",
        "<think>The opacity is dense. It may be",
        "<think>Done.</think><answer>B",
        "CHEST RADIOGRAPH SHOWS ENLARGEMENT OF THE",
        "右肺下叶结节，",
        "右肺下叶结节，伴有",
        "病变位于",
        "肝脏及",
        "双肺纹理清晰。心影大小形态正常。右肺下叶可见一枚结节状高密度影边缘毛",
        "右肺结节（箭头",
    ],
)
def test_texts_that_stop_halfway_are_cut_off(text: str) -> None:
    assert cut_off(text)


def test_a_colon_before_an_image_is_a_proper_ending() -> None:
    assert cut_off("The scan is shown here:")
    assert not cut_off("The scan is shown here:", before_image=True)
    assert cut_off("The scan of the", before_image=True)


def test_cut_off_looks_at_what_a_model_learns_to_say(tmp_path: Path, image: Image) -> None:
    rows = measured(
        tmp_path / "curated",
        conversation(image, "Describe the", "A nodule."),
        conversation(image, "Describe it.", "A nodule in the", "And now?", "A mass."),
        conversation(image, "Describe the"),
        query(image, "Is there a fracture of the", "yes"),
        query(image, "Is there a fracture?", "of the"),
        document("As is shown here:", image),
        document(image, "A nodule of the"),
        caption("", image),
    )
    assert [row["text_cut_off"] for row in rows] == [False, True, True, True, False, False, True, False]


@pytest.mark.parametrize(
    ("text", "images", "mentions"),
    [
        ("Axial CT of the head", 1, 0),
        ("The second image shows oedema.", 1, 1),
        ("The second image shows oedema.", 2, 0),
        ("The 3rd panel and the fourth panel", 2, 2),
        ("Images A-D show the stages.", 1, 1),
        ("Images A-D show the stages.", 3, 1),
        ("Images A-D show the stages.", 4, 0),
        ("Panel B shows the mass; panel c shows the node.", 1, 2),
        ("Panel A shows the mass.", 1, 0),
        ("Both images show a mass.", 1, 1),
        ("Both images show a mass.", 2, 0),
        ("Both radiographs show a mass.", 1, 1),
        ("All three scans", 2, 1),
        ("A mass (Figure 3).", 1, 1),
        ("A mass (Fig. 2B), as in Fig. 1.", 1, 1),
        ("Figure 3. Axial CT of the head.", 1, 0),
        ("Figure 3. Axial CT. Compare with Figure 4.", 1, 1),
        ("Figure 3. Axial CT of the mass in Figure 3.", 1, 0),
        ("Figure 1. CT.\nFigure 2. MRI.", 2, 0),
        ("Seen in Supplementary Figure S2.", 4, 1),
        ("Unchanged from the prior study.", 1, 1),
        ("Compared to the previous chest radiograph, no change.", 1, 1),
        ("Compared to the previous chest radiograph, no change.", 2, 0),
        ("The effusion has grown since admission.", 1, 0),
        ("What is shown in this image?", 0, 1),
        ("What is shown in this image?", 1, 0),
        ("As shown in the figure above, it spreads.", 0, 1),
        ("As shown in Figure 2, it spreads.", 0, 1),
        ("Interpret this chest X-ray.", 0, 1),
        ("Figure out the diagnosis.", 0, 0),
        ("A second CT was done a week later.", 1, 0),
        ("Image A 45-year-old man with cough.", 1, 0),
        ("Assembled from two adjacent images and labelled on screen.", 1, 0),
        ("The body part has to come from the image itself.", 0, 0),
        ("What is the best imaging test for appendicitis?", 0, 0),
        ("Explain how photons are detected in a CT scanner.", 0, 0),
        ("如图所示，右肺见结节。", 0, 1),
        ("如图所示，右肺见结节。", 1, 0),
        ("第二张图显示结节。", 1, 1),
        ("两张图片均显示结节。", 1, 1),
        ("结节见图3。", 1, 1),
        ("图1 胸片", 1, 0),
        ("The \u017fecond image", 1, 1),
        ("", 0, 0),
    ],
)
def test_mentions_of_images_that_are_not_there(text: str, images: int, mentions: int) -> None:
    assert missing_images(text, images) == mentions


TROUBLE = [
    *(
        "image",
        "Image 2",
        "second",
        "\u017fecond",
        "Fig. ",
        "both",
        "panel",
        "A",
        "-",
        ",",
        "(",
        "<think>",
        "</think>",
        ":",
    ),
    *(
        "图",
        "第",
        "二",
        "张",
        "两张图",
        "和",
        "。",
        " ",
        "\n",
        "\x00",
        "\u212a",
        "\u0661",
        "²",
        "\ufeff",
        "e\u0301",
        "🫀",
        "CT",
    ),
]
BOILERPLATE = [
    "Figure 2.",
    "Fig. 3A-C",
    "See text for details.",
    "Click to enlarge",
    "Open in new tab",
    "Image courtesy of Dr. A. Smith, Radiopaedia",
    "https://example.org/cases/12345",
    "© 2020 The Publisher. All rights reserved.",
    "Figure 3. Reproduced with permission from Smith et al., Radiology 2010.",
    "IMG_1234.jpg",
    "No caption available",
    "图2。点击查看大图",
    "图片来源：网络",
]
INFORMATION = [
    "Figure 2. Axial CT of the head shows a mass.",
    "Pneumothorax",
    "CT",
    "12",
    "",
    "Axial CT of the liver. Click to enlarge.",
    "Pneumothorax. Image courtesy of Dr. A. Smith, Radiopaedia.",
    "Copyright law does not concern this radiograph of the chest",
    "See the left lower lobe for the lesion.",
    "None of the above",
    "图2 胸部CT显示结节",
]


def test_boilerplate_is_text_that_is_nothing_else(tmp_path: Path, image: Image) -> None:
    rows = measured(tmp_path / "curated", *(caption(text, image) for text in (*BOILERPLATE, *INFORMATION)))
    found = [text for text, row in zip((*BOILERPLATE, *INFORMATION), rows, strict=True) if row["text_boilerplate"]]
    assert found == BOILERPLATE


def test_the_number_of_an_image_is_a_proper_answer(tmp_path: Path, image: Image) -> None:
    rows = measured(
        tmp_path / "curated",
        conversation(image, "Which image is brighter?", "Image 2."),
        conversation(image, "What is it?", "See text."),
    )
    assert [row["text_boilerplate"] for row in rows] == [False, True]


def test_repetition_is_the_share_of_ngrams_seen_before() -> None:
    assert repetition("") == repetition("Pneumothorax") == repetition("Axial CT of the head") == 0
    ten = "one two three four five six seven eight nine ten"
    assert repetition(ten) == 0
    assert repetition(f"{ten} {ten}") == pytest.approx(6 / 16, abs=1e-4)
    assert repetition("normal " * 50) > 0.95
    assert repetition("no no no no") == pytest.approx(2 / 3, abs=1e-4)
    assert repetition("右肺结节。" * 20) > 0.9
    report = "There is no evidence of pneumothorax. There is no evidence of effusion. The heart is normal in size."
    assert 0 < repetition(report) < 0.3


def test_repetition_is_of_the_worst_turn_and_not_across_turns(tmp_path: Path, image: Image) -> None:
    asked = "Answer the question with a single word or a short phrase, please: what is it?"
    rows = measured(
        tmp_path / "curated",
        conversation(image, asked, "Retina.", asked, "Disc."),
        conversation(image, "What is it?", "the retina of the left eye and " * 30),
    )
    assert rows[0]["text_repetition"] == 0
    assert rows[1]["text_repetition"] > 0.9


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The lungs are clear and there is no pleural effusion.", "en"),
        ("Röntgenaufnahme des Thorax mit einem Erguss auf der linken Seite", "de"),
        ("La radiographie du thorax montre un épanchement pleural à gauche", "fr"),
        ("胸部CT显示右肺下叶结节", "zh"),
        ("双肺未见异常", "zh"),
        ("胸部X線写真で右下肺野に浸潤影を認める", "ja"),
        ("흉부 X선 사진에서 좌측 기흉", "ko"),
        ("Рентгенограмма грудной клетки без патологии", "ru"),
    ],
)
def test_language(text: str, code: str) -> None:
    found, confidence = language(text)
    assert found == code
    assert 0.3 < (confidence or 0) <= 1


@pytest.mark.parametrize(
    "text", ["", "Pneumothorax", "T1 T2 1.5 T 3 mm", "12345 67890 12345 67890", "正常", "Normal CT."]
)
def test_too_few_letters_have_no_language(text: str) -> None:
    assert language(text) == (None, None)


def test_gibberish_is_a_guess_and_says_so() -> None:
    assert (language("xqzzt blorf snarg wibble frub gnarl")[1] or 0) < 0.3


def test_characters_words_and_letters(tmp_path: Path, image: Image) -> None:
    rows = measured(
        tmp_path / "curated",
        caption("  Axial CT of the head  ", image),
        caption("胸部CT显示结节", image),
        document("A", image, "B 2"),
        caption("12 / 34", image),
        caption("", image),
        conversation(image, "One two?", "Three.", system="Four five six seven."),
    )
    assert [row["text_chars"] for row in rows] == [20, 8, 5, 7, 0, 15]
    assert [row["text_words"] for row in rows] == [5, 7, 3, 2, 0, 3]
    assert [row["text_letters"] for row in rows] == [1.0, 1.0, 0.6667, 0.0, 0.0, 0.8462]


def test_samples_without_turns_or_text_are_measured(tmp_path: Path, image: Image) -> None:
    without = sample("conversation", (image,))
    only_image = sample("image_caption", (image,), ("document", (0,)))
    empty = caption("x", image)
    rows = measured(tmp_path / "curated", without, only_image, empty)
    assert [(row["text_chars"], row["text_language"], row["text_cut_off"]) for row in rows[:2]] == [
        (0, None, False)
    ] * 2
    assert [row["pair_unplaced_images"] for row in rows] == [1, 0, 0]


def test_what_is_looked_at_in_queries(tmp_path: Path, image: Image) -> None:
    choices = (("A", "of the"), ("B", "© 2020"))
    row = measured(tmp_path / "curated", query(image, "Which is right?", "B", query_type="choice", choices=choices))[0]
    assert row["text_chars"] == len("Which is right?")
    assert not row["text_cut_off"]
    assert not row["text_boilerplate"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(TROUBLE) | st.text(max_size=8), max_size=30).map("".join), st.integers(0, 3))
def test_no_text_is_too_strange(text: str, images: int) -> None:
    assert cut_off(text) in (True, False)
    assert missing_images(text, images) >= 0
    assert 0 <= repetition(text) <= 1
    assert (language(text)[0] is None) == (language(text)[1] is None)
    for found in (modality_conflict(text, "CT"), body_part_conflict(text, "CHEST")):
        assert found in (True, False, None)


@pytest.mark.parametrize("piece", [" ", "\n", "a", "图", "(", ". A", "image 1, ", "see the ", "second ", "1"])
def test_long_runs_of_one_thing_take_linear_time(tmp_path: Path, image: Image, piece: str) -> None:
    rows = measured(
        tmp_path / "curated",
        *(caption(f"{start}{piece * 60_000}", image) for start in ("", "image 1,", "shown in the", "copyright")),
    )
    assert len(rows) == 4


def test_a_very_long_text_is_measured(tmp_path: Path, image: Image) -> None:
    row = measured(tmp_path / "curated", caption("The liver is normal in size and shape. " * 20_000, image))[0]
    assert row["text_words"] == 160_000
    assert row["text_language"] == "en"
    assert row["text_repetition"] > 0.99
