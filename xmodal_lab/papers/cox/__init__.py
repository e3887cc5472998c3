"""cox: out-of-modal generalization without instance-level modal correspondence (connect and explore)."""
