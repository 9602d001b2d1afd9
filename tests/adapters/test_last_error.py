"""The sentence that a trainer's output ends with."""

from __future__ import annotations

import pytest

from curate.adapters.last_error import last_error

RAY = """\
(TaskRunner pid=4711) step:3 - critic/score/mean:0.2
\x1b[36m(TaskRunner pid=4711)\x1b[0m Traceback (most recent call last):
\x1b[36m(TaskRunner pid=4711)\x1b[0m   File "rl_dataset.py", line 300, in __getitem__
\x1b[36m(TaskRunner pid=4711)\x1b[0m ValueError: Prompt length 5000 is longer than 4096.
Traceback (most recent call last):
  File "main_ppo.py", line 60, in main
    ray.get(runner.run.remote(config))
ray.exceptions.RayTaskError(ValueError): ray::TaskRunner.run() (pid=4711, ip=127.0.0.1)
  File "rl_dataset.py", line 300, in __getitem__
"""
TORCHRUN = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "trainer.py", line 10, in step
[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
W1125 08:00:00 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 12 closing signal SIGTERM
Traceback (most recent call last):
  File "run.py", line 900, in run
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
"""
KILLED_WORKER = """\
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
launch.py FAILED
Root Cause (first observed failure):
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 4712)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 4712
"""
CHAINED = """\
Traceback (most recent call last):
KeyError: 'images'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "loader.py", line 1, in load
ValueError: Dataset medcurate_sft is missing
  a column: images

Cleaning up.
"""


@pytest.mark.parametrize(
    ("output", "status", "expected"),
    [
        (RAY, 1, "ValueError: Prompt length 5000 is longer than 4096."),
        (CHAINED, 1, "ValueError: Dataset medcurate_sft is missing a column: images"),
        ("loading …\nno model at runs/x\n", 1, "no model at runs/x"),
        ("", 5, "it ended with status 5 and said nothing"),
        ("step 3\n", -15, "it was ended by signal 15"),
        (
            KILLED_WORKER,
            1,
            "it was killed (SIGKILL), mostly because the machine's memory ran out: lower micro_batch_size",
        ),
    ],
)
def test_the_error_of_the_process_that_had_it(output: str, status: int, expected: str) -> None:
    assert last_error(output.splitlines(), status) == expected


def test_out_of_memory_comes_with_advice() -> None:
    message = last_error(TORCHRUN.splitlines(), 1)
    assert message.startswith("torch.OutOfMemoryError: CUDA out of memory.")
    assert "micro_batch_size" in message
    assert "memory ran out" in last_error(["step 3"], -9)


def test_a_report_of_another_process_counts_when_there_is_nothing_else() -> None:
    lines = ["Traceback (most recent call last):", "ray.exceptions.ActorDiedError: The actor died unexpectedly."]
    assert last_error(lines, 1) == "ray.exceptions.ActorDiedError: The actor died unexpectedly."
