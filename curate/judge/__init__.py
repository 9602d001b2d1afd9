"""Samples to verdicts through an OpenAI-compatible endpoint: five scores by a rubric, defects, and what they mean.

``judge_corpus`` does the work, ``estimate_corpus`` says beforehand what it would take. The rest is what they are told:
the endpoint, the rubrics, the price.
"""

from curate.judge.endpoint import DEMO_MODEL, DEMO_URL, Endpoint, resolve_endpoint
from curate.judge.images import ImageBound
from curate.judge.interrupt import stop_on_signals
from curate.judge.plan import JudgeEstimate
from curate.judge.price import FREE, Price, load_prices, parse_price, price_of
from curate.judge.report import JudgeOptions, JudgeSummary
from curate.judge.rubric import DIMENSIONS, Rubric, load_rubrics
from curate.judge.run import estimate_corpus, judge_corpus

__all__ = [
    "DEMO_MODEL",
    "DEMO_URL",
    "DIMENSIONS",
    "FREE",
    "Endpoint",
    "ImageBound",
    "JudgeEstimate",
    "JudgeOptions",
    "JudgeSummary",
    "Price",
    "Rubric",
    "estimate_corpus",
    "judge_corpus",
    "load_prices",
    "load_rubrics",
    "parse_price",
    "price_of",
    "resolve_endpoint",
    "stop_on_signals",
]
