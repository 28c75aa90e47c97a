"""language_id: in which of twelve languages a short text is written, by a small transformer encoder over bytes.

A text is its UTF-8 bytes, so there is no tokenizer: byte b is token b + 1, and 0 pads to 48. The encoder is that of
Vaswani et al. 2017, "Attention Is All You Need", with layer normalisation before each block (Xiong et al. 2020, "On
Layer Normalization in the Transformer Architecture") and learned positions. Before it, a convolution over five bytes
sees what letters stand together, which attention alone does not learn from so few words; after it, the mean over the
text's tokens goes to one dense layer. All is written out in plain modules, because converters know matmul and softmax,
while `nn.TransformerEncoder` takes a fused path of its own in eval mode.

The texts are names from the Unicode CLDR (of countries, languages, currencies, units, months, time zones), as the PyPI
package Babel ships them: real words whose language is known exactly. Longer texts join several names of one kind the
way the language itself writes a list. A CLDR entry is held out in all languages or in none, and its key alone decides
(`is_held_out`), so that no version of Babel can move an entry from one side to the other. `train.py` made the weights.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import ModelError
from edgekit.model import Arrays, Evaluation, Metric, Model
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from babel import Locale
    from torch import nn

    Names = dict[str, dict[str, tuple[str, ...]]]
    """By kind of name, such as "territories", then by key, such as "FR": what one language calls it."""

LANGUAGES = ("cs", "de", "en", "es", "fi", "fr", "it", "nl", "pl", "pt", "sv", "tr")
"""ISO 639-1, in the order of the logits. All are written in Latin script."""
WEIGHTS = "weights.npz"

LENGTH = 48
"""Tokens."""
VOCABULARY = 257
WIDTH = 96
HEADS = 4
LAYERS = 2
REACH = 2
"""Bytes on either side that the convolution sees."""
MASKED = -20.0
"""Added to the attention scores of padding, which leaves it e⁻²⁰ of a weight. A large number would be no better, would
overflow in half precision, and would stretch the range that int8 scores are quantized over."""

SHORTEST_BYTES = 12
MOST_NAMES = 4
HELD_OUT_OF_256 = 51
CALIBRATION_TEXTS = 204
EVALUATION_TEXTS = 504
CALIBRATION_SEED = 1
EVALUATION_SEED = 2


# ---------------------------------------------------------------------------------------------------- network


def network(*, any_length: bool = False) -> nn.Module:
    """The untrained encoder: `tokens` `(n, 48)` int64 to `logits` `(n, 12)` float32; 300,492 parameters.

    With `any_length` it takes up to 48 tokens, with the same weights. Without, the length is a number in the program,
    which formats that fix it anyway make the most of.
    """
    import torch
    from torch import nn

    class Attention(nn.Module):
        """Multi-head self-attention."""

        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(WIDTH, WIDTH)
            self.key = nn.Linear(WIDTH, WIDTH)
            self.value = nn.Linear(WIDTH, WIDTH)
            self.output = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            length = x.shape[1] if any_length else LENGTH
            query, key, value = (
                part(x).reshape(-1, length, HEADS, WIDTH // HEADS).transpose(1, 2)
                for part in (self.query, self.key, self.value)
            )
            scores = query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + bias
            mixed = torch.softmax(scores, dim=-1) @ value
            return self.output(mixed.transpose(1, 2).reshape(-1, length, WIDTH))

    class Layer(nn.Module):
        """Attention, then a feed-forward network of 4 × the width; each is added to what it reads, normalised."""

        def __init__(self) -> None:
            super().__init__()
            self.attention_norm = nn.LayerNorm(WIDTH)
            self.attention = Attention()
            self.feed_forward_norm = nn.LayerNorm(WIDTH)
            self.expand = nn.Linear(WIDTH, 4 * WIDTH)
            self.activation = nn.GELU()
            self.contract = nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            x = x + self.attention(self.attention_norm(x), bias)
            return x + self.contract(self.activation(self.expand(self.feed_forward_norm(x))))

    class LanguageId(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.position = nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
            self.stem = nn.Conv1d(WIDTH, WIDTH, kernel_size=2 * REACH + 1, padding=REACH)
            self.activation = nn.GELU()
            self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
            self.norm = nn.LayerNorm(WIDTH)
            self.classifier = nn.Linear(WIDTH, len(LANGUAGES))
            nn.init.normal_(self.embedding.weight, std=0.02)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            length = tokens.shape[1] if any_length else LENGTH
            real = (tokens != 0).to(torch.float32)
            bias = ((1.0 - real) * MASKED).reshape(-1, 1, 1, length)
            x = self.embedding(tokens) + (self.position[:length] if any_length else self.position)
            x = x + self.activation(self.stem(x.transpose(1, 2)).transpose(1, 2))
            for layer in self.layers:
                x = layer(x, bias)
            weights = real.reshape(-1, length, 1)
            mean = (self.norm(x) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
            return self.classifier(mean)

    return LanguageId()


def build(*, any_length: bool = False) -> nn.Module:
    """The trained encoder in eval mode; `any_length` as in `network`.

    Raises:
        ModelError: the file of weights does not fit this network.
    """
    import torch

    path = Path(__file__).resolve().parent / WEIGHTS
    encoder = network(any_length=any_length)
    try:
        with np.load(path, allow_pickle=False) as stored:
            encoder.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: other names or shapes
        raise ModelError(
            f"The weights of language_id in {path} cannot be used: {error}.",
            remedy="Restore the file, or make it anew with models/language_id/train.py.",
        ) from error
    return encoder.eval().requires_grad_(False)


# ------------------------------------------------------------------------------------------------------ texts


def encode(text: str) -> np.ndarray:
    """Tokens of a text: `(48,)` int64. A longer text is cut after its last whole character within 48 bytes."""
    whole = text.encode()[:LENGTH].decode(errors="ignore").encode()
    tokens = np.zeros(LENGTH, dtype=np.int64)
    tokens[: len(whole)] = np.frombuffer(whole, dtype=np.uint8).astype(np.int64) + 1
    return tokens


def is_held_out(kind: str, key: str) -> bool:
    """Whether training and calibration must not see an entry: one in five, by a hash of its key.

    What belongs together stays together: "pt_BR" is held out if "pt" is, "months/3" in all its forms.
    """
    return hashlib.sha256(f"{kind}/{key.partition('_')[0]}".encode()).digest()[0] < HELD_OUT_OF_256


def _entries(locale: Locale) -> Iterator[tuple[str, str, str]]:
    """All (kind, key, name) of one language, as CLDR has them."""
    from babel.numbers import get_currency_name

    for kind, names in (
        ("territories", locale.territories),
        ("languages", locale.languages),
        ("scripts", locale.scripts),
        ("variants", locale.variants),
        ("currencies", locale.currencies),
    ):
        yield from ((kind, key, name) for key, name in names.items())
    for key in locale.currencies:
        yield "currencies", key, get_currency_name(key, count=5, locale=locale)
    for key, forms in locale.unit_display_names.items():
        if "long" in forms:
            yield "units", key, forms["long"]
    for kind, contexts in (("days", locale.days), ("months", locale.months), ("quarters", locale.quarters)):
        for context in ("format", "stand-alone"):
            yield from (("calendar", f"{kind}/{key}", name) for key, name in contexts[context]["wide"].items())
    for key, name in locale.eras["wide"].items():
        yield "calendar", f"eras/{key}", name
    for key, zone in locale.time_zones.items():
        if "city" in zone:
            yield "cities", key, zone["city"]
    for key, zone in locale.meta_zones.items():
        yield from (("zones", key, name) for name in zone.get("long", {}).values())


@cache
def _names() -> dict[str, tuple[Names, Names]]:
    """By language: names to train on, and names held out.

    A name that two languages share, such as "Angola", says nothing and is left out; so is a held-out name that an entry
    to train on has as well.
    """
    from babel import Locale

    entries = {language: sorted(set(_entries(Locale(language)))) for language in LANGUAGES}
    shared = Counter(name for of_one in entries.values() for name in {name.casefold() for _, _, name in of_one})
    names: dict[str, tuple[Names, Names]] = {}
    for language, of_one in entries.items():
        known = {name.casefold() for kind, key, name in of_one if not is_held_out(kind, key)}
        sides: tuple[Names, Names] = ({}, {})
        for kind, key, name in of_one:
            held_out = is_held_out(kind, key)
            if shared[name.casefold()] > 1 or (held_out and name.casefold() in known):
                continue
            forms = sides[held_out].setdefault(kind, {})
            forms[key] = (*forms.get(key, ()), name)
        names[language] = sides
    return names


def texts(seed: int, count: int, *, held_out: bool) -> tuple[list[str], np.ndarray]:
    """Texts of 12 to 48 bytes, no two alike: one to four names of a kind, the way the language lists them.

    Args:
        seed: of the random draw.
        count: how many, a multiple of 12: as many of each language.
        held_out: from the entries that are held out, or else from the others.

    Returns:
        The texts, and their languages as indices into `LANGUAGES`, `(count,)` int64.
    """
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(LANGUAGES)), count // len(LANGUAGES))
    drawn: dict[str, None] = {}
    for label in labels:
        while (text := _text(rng, LANGUAGES[label], held_out=held_out)) in drawn:
            pass
        drawn[text] = None
    return list(drawn), labels


def _text(rng: np.random.Generator, language: str, *, held_out: bool) -> str:
    """One text; within a kind, every entry is as likely as another, and kinds are as likely as they are large."""
    from babel.lists import format_list

    kinds = _names()[language][held_out]
    sizes = np.array([len(names) for names in kinds.values()], dtype=np.float64)
    while True:
        names = list(list(kinds.values())[rng.choice(len(kinds), p=sizes / sizes.sum())].values())
        chosen = rng.choice(len(names), size=min(len(names), rng.integers(1, MOST_NAMES + 1)), replace=False)
        text = format_list([names[i][rng.integers(len(names[i]))] for i in chosen], locale=language)
        if SHORTEST_BYTES <= len(text.encode()) <= LENGTH:
            return text


def samples(seed: int, count: int, *, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """`texts` as the network takes them: tokens `(count, 48)` int64, and labels `(count,)` int64."""
    drawn, labels = texts(seed, count, held_out=held_out)
    return np.stack([encode(text) for text in drawn]), labels


def calibration() -> Arrays:
    """204 texts of the training entries, 17 of each language: `tokens` `(204, 1, 48)` int64."""
    tokens, _ = samples(CALIBRATION_SEED, CALIBRATION_TEXTS, held_out=False)
    return {"tokens": tokens[:, None]}


def evaluation() -> Evaluation:
    """504 texts of the held-out entries, 42 of each language, `(504, 1, 48)` int64; targets `(504,)` int64."""
    tokens, labels = samples(EVALUATION_SEED, EVALUATION_TEXTS, held_out=True)
    return Evaluation(inputs={"tokens": tokens[:, None]}, targets=labels)


def accuracy(outputs: Arrays, targets: np.ndarray) -> float:
    """Top-1 accuracy: the share of texts, 0..1, whose largest logit is their language's.

    Args:
        outputs: `logits`, `(n, 1, 12)` or `(n, 12)`, any float dtype.
        targets: indices into `LANGUAGES`, `(n,)`.
    """
    logits = np.asarray(outputs["logits"]).reshape(len(targets), len(LANGUAGES))
    return float(np.mean(logits.argmax(axis=1) == targets))


model = Model(
    name="language_id",
    source="pytorch",
    build=build,
    inputs=(TensorSpec("tokens", (1, LENGTH), "int64"),),
    outputs=("logits",),
    calibration=calibration,
    evaluation=evaluation,
    metric=Metric("accuracy", accuracy),
    labels={"logits": LANGUAGES},
    depends_on=("torch", "babel"),
    files=(WEIGHTS,),
    origin="Trained here on names of the Unicode CLDR, as Babel ships them",
    licence="Apache-2.0 (code, weights); data Unicode-3.0 (CLDR), shipped with Babel (BSD-3-Clause)",
)
