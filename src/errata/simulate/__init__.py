"""A simulated engine: the chat protocol in front of a model of a continuous-batching GPU, with exact accounting."""
