"""What is measured: the columns of ``signals/part-*.parquet``, documented one by one."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

SIGNALS_VERSION = 2
"""Counts up when the same sample would be measured differently: every row is then measured anew."""


class Column(NamedTuple):
    """A measured column; ``docs/signals.md`` shows these texts word for word."""

    name: str
    type: pa.DataType
    unit: str
    range: str
    meaning: str
    """What it says and how it is computed."""
    catches: str
    """What a rule over it is good for."""


COLUMNS = (
    Column(
        "id",
        pa.string(),
        "SHA-256, hex",
        "64 characters",
        "The sample.",
        "",
    ),
    Column(
        "signals_key",
        pa.string(),
        "hash, hex",
        "32 characters or null",
        "What the row was measured from: id, images with their files' suffixes, DICOM modality and body part, "
        "version of the signals. A row with an equal key is not measured again. Null when an image's file was "
        "missing or changed: the next run tries again.",
        "",
    ),
    Column(
        "image_count",
        pa.int32(),
        "images",
        ">= 0",
        "Images of the sample.",
        "Unexpected text-only samples.",
    ),
    Column(
        "image_readable",
        pa.bool_(),
        "",
        "null without images",
        "Every image was decoded to its last pixel, from bytes with the hash that ingest recorded.",
        "Truncated, damaged, missing and changed files.",
    ),
    Column(
        "image_problem",
        pa.string(),
        "",
        "null when readable",
        "Why the first unreadable image is unreadable.",
        "",
    ),
    Column(
        "image_extension_ok",
        pa.bool_(),
        "",
        "null for inline and rendered images, and for files without a suffix",
        "The suffix of every original file agrees with the format of its content (.png; .jpg, .jpeg, .jpe, .jfif).",
        "JPEG files named .png, which some loaders refuse.",
    ),
    Column(
        "image_min_side",
        pa.int32(),
        "pixels",
        ">= 1, null without images",
        "Shortest side of all images.",
        "Thumbnails and icons.",
    ),
    Column(
        "image_max_side",
        pa.int32(),
        "pixels",
        ">= 1, null without images",
        "Longest side of all images.",
        "Pictures that a vision encoder would shrink beyond recognition, or that exhaust its token budget.",
    ),
    Column(
        "image_aspect",
        pa.float64(),
        "ratio",
        ">= 1, null without images",
        "Long side by short side, of the most elongated image.",
        "Banners, rulers, strips cut out of a page.",
    ),
    Column(
        "image_entropy",
        pa.float64(),
        "bits",
        "0 to 8, null when no image is readable",
        "Shannon entropy of the histogram of 256 grey levels, of the image where it is lowest. PNG: all pixels. "
        "JPEG: the picture as halved for `image_sharpness`.",
        "Blank and nearly blank images: uniform is 0, a line of text on white below 1, a radiograph 5 to 8.",
    ),
    Column(
        "image_sharpness",
        pa.float64(),
        "squared grey levels",
        ">= 0, null when no image is readable",
        "Variance of the 4-neighbour Laplacian (Pech-Pacheco et al. 2000) of the grey image, halved as often as it"
        " takes to bring its long side to 512 pixels or less; of the image where it is lowest.",
        "Blurred and upscaled images. Heavy blur divides it by 10 to 100; a factor of 3 means nothing.",
    ),
    Column(
        "image_bits",
        pa.int32(),
        "bits",
        "0 to 8, null when no image is readable",
        "Grey depth really used: bits it takes to number the grey levels that occur, of the image where it is "
        "lowest. Measured on the same pixels as `image_entropy`; JPEG compression smears levels, so it speaks of "
        "PNG only.",
        "Masks, binary scans, images saved with a wrong window or a few grey levels.",
    ),
    Column(
        "image_phashes",
        pa.list_(pa.uint64()),
        "64-bit hash",
        "one for each image, null for an unreadable one",
        "DCT perceptual hash: grey, 32 x 32, the 8 x 8 lowest frequencies against their median, first bit highest."
        " The same definition as `phash` of the imagehash package.",
        "Near-duplicates: the number of differing bits between two images; 0 to 6 of 64 is mostly the same picture.",
    ),
    Column(
        "image_phashes_mirrored",
        pa.list_(pa.uint64()),
        "64-bit hash",
        "as `image_phashes`",
        "The same hash of each image's left-right mirror image.",
        "Mirrored copies: compare with `image_phashes` of the other image.",
    ),
    Column(
        "image_phashes_trimmed",
        pa.list_(pa.uint64()),
        "64-bit hash",
        "as `image_phashes`",
        "The same hash of each image without its uniform borders, black, white or any grey within 12 levels, two "
        "within one another at most; equal to `image_phashes` where there are none, or where they take more than half "
        "of the width or height.",
        "Copies with a frame or margin added or cut off.",
    ),
    Column(
        "image_content_boxes",
        pa.list_(pa.list_(pa.float32())),
        "share",
        "4 of 0 to 1 for each image, null for an unreadable one",
        "What is left of each image without those borders: left, top, right, bottom as shares of width and height.",
        "Pages with a small picture on them.",
    ),
    Column(
        "image_phashes_cropped",
        pa.list_(pa.list_(pa.uint64())),
        "64-bit hash",
        "16 for each image, null for an unreadable one",
        "The same hash of 16 crops of each image: 1.25 or 3.75 % cut off left, right, top and bottom (left slowest).",
        "Copies that lost up to 5 % on any side: one of the 16 differs in few bits from `image_phashes` of the copy.",
    ),
    Column(
        "text_chars",
        pa.int32(),
        "characters",
        ">= 0",
        "Unicode characters of the text, without surrounding white space.",
        "Empty and overlong texts.",
    ),
    Column(
        "text_words",
        pa.int32(),
        "words",
        ">= 0",
        "Runs of letters, digits and what is attached to them; each Chinese character and each kana is a word.",
        "Captions too short to teach anything.",
    ),
    Column(
        "text_language",
        pa.string(),
        "ISO 639 code",
        "null under 15 letters (a Chinese character, kana or Hangul syllable counts 3)",
        "Most likely language of the first 1,000 characters, by py3langid.",
        "Texts in a language that the dataset is not meant to have.",
    ),
    Column(
        "text_language_confidence",
        pa.float64(),
        "probability",
        "0 to 1, null with `text_language`",
        "py3langid's normalised probability. Below 0.3 the language is a guess: so with short captions full of "
        "Latin terms.",
        "Together with the language: gibberish, code, tables.",
    ),
    Column(
        "text_repetition",
        pa.float64(),
        "share",
        "0 to 1",
        "Share of word 5-grams that repeat an earlier one of the same turn (2-grams in turns under 10 words), of "
        "the worst turn; the duplicate n-grams of Rae et al. 2021. The first 100,000 characters of a turn are "
        "looked at.",
        "Looping generations, pasted blocks. Two parallel sentences of a report stay under 0.3.",
    ),
    Column(
        "text_letters",
        pa.float64(),
        "share",
        "0 to 1",
        "Letters among the characters that are not white space; 0 for an empty text.",
        "Tables, markup, code, garbage.",
    ),
    Column(
        "text_cut_off",
        pa.bool_(),
        "",
        "",
        "A target turn ends unfinished: on a comma, an open bracket, a hyphen, an ellipsis, a word that announces "
        "another (of, the, with, 以及), inside `<think>`, or after full sentences with a long last one that has no "
        "full stop. A short text without a full stop is not cut off.",
        "Captions cut to a field width, answers that ran out of tokens.",
    ),
    Column(
        "text_boilerplate",
        pa.bool_(),
        "",
        "",
        "A target turn says nothing beyond figure numbers, links, credits, copyright notes, file names and hints "
        "such as 'see text' or 'click to enlarge': fewer than 6 letters or 15 % of its letters are left without "
        "these.",
        "Captions scraped from page furniture.",
    ),
    Column(
        "text_missing_images",
        pa.int32(),
        "mentions",
        ">= 0",
        "Mentions that need an image the sample does not have: 'the second image', 'images A-D', 'panel B', "
        "'Figure 3', 'both images', a comparison with a prior study beside too few images; 'as shown in the image'"
        " beside none.",
        "Captions torn from their page, images lost on the way, findings nobody can see.",
    ),
    Column(
        "pair_unplaced_images",
        pa.int32(),
        "images",
        ">= 0",
        "Images of the sample that no turn shows.",
        "Images that a trainer would drop or refuse.",
    ),
    Column(
        "pair_modality_conflict",
        pa.bool_(),
        "",
        "null without DICOM modality, or when the text names none",
        "The text, or a query's reference answer, names modalities, and none of them can be what the DICOM header "
        "says. Sentences about another examination (recommended, compared, previous) do not count against it.",
        "Captions that belong to another image.",
    ),
    Column(
        "pair_body_part_conflict",
        pa.bool_(),
        "",
        "null without DICOM body part, or when the text names none",
        "The same for body regions; an organ counts for every region it is commonly seen in (liver: abdomen, chest).",
        "Captions that belong to another image.",
    ),
    Column(
        "modality",
        pa.string(),
        "",
        "null when nothing says it",
        "What kind of picture: CT, MR, XR (CR, DX and the like), MG, US, PT, NM, XA, RF, OCT, fundus, histology, "
        "endoscopy, dermatology, photograph. By the DICOM modality; without one by the text and a query's reference "
        "answer, when all they name can be one kind.",
        "Mixtures by visual category.",
    ),
    Column(
        "body_part",
        pa.string(),
        "",
        "null when nothing says it",
        "Region of the body: HEAD, NECK, CHEST, BREAST, ABDOMEN, PELVIS, SPINE, SHOULDER, ARM, ELBOW, HAND, HIP, LEG,"
        " KNEE, FOOT, several joined by +. By DICOM's Body Part Examined; without one by the text, as for `modality`.",
        "Mixtures by region.",
    ),
)

SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])
"""Arrow schema of a signals shard: one row for each sample, in the order of the samples shard."""
