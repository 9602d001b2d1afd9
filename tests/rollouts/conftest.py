"""Fixtures of the tests of rollouts."""

from pathlib import Path

import pytest
from rollouts.playing import effusion, organ
from support.corpora import picture
from support.measured import caption, make_corpus, query, stored

from curate.corpus import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Five queries and a caption in two shards."""
    path = tmp_path / "c"
    samples = [
        organ(path, 0),
        caption("A frontal radiograph.", stored(path, picture(500))),
        organ(path, 1),
        effusion(path, 0),
        organ(path, 2),
        query("Findings: name them", "sharp costophrenic angle", query_type="jaccard", source="effusions"),
    ]
    return make_corpus(path, samples, per_shard=4)
