"""uml: Better together: leveraging unpaired multi-modal data for stronger unimodal models."""
