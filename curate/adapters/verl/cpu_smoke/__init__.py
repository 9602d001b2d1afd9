"""verl on a CPU, for smoke runs only: to see a recipe run from end to end where there is no GPU.

verl 0.9.1 has no configuration that trains on a CPU. This package registers what is missing through verl's own hooks
(a platform, a rollout engine over transformers) and replaces three private things: the backend of the process group,
the offloading of the reference model, which needs an NVIDIA driver, and an interval of two seconds in which it polls.
It is slow, knows one machine with one process, text and images, and rests on private names; so it refuses any other
version of verl. Rewards, advantages, losses, optimiser, checkpoints and validation are verl's own.
"""
