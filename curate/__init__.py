"""medcurate: raw medical images and text in, judged and selected training data out.

The rooms, in the order data flows: ``sources`` (outside to Sample), ``corpus`` (what data looks like inside),
``signals`` and ``judge`` (facts about samples), ``select`` (facts to decisions), ``exports`` (decisions to trainer
files). ``schemas`` describes the records outside; ``cli`` holds the ``curate`` command.
"""

__version__ = "0.1.0"
