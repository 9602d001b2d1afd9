"""verl (GRPO): its configuration from a stage, a proof before training, the launch, and the merge of its checkpoint."""
