"""Names out of manifests become identifiers and literals of a language. They may come from anybody: nothing is trusted.

An identifier is ASCII letters, digits and `_`, begins with a letter, is no keyword, and is unlike its neighbours. A
literal is printable ASCII between double quotes, with everything else escaped, so that no name ends a string or a line.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def words(name: str) -> list[str]:
    """The words of a name, in ASCII: `pooled_Output:0` is pooled, Output, 0; a name of other letters has none."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", plain)


def lower_camel(name: str, otherwise: str = "tensor") -> str:
    """`pooled_output` as `pooledOutput`: variables of Kotlin, Swift and TypeScript."""
    first, *others = words(name) or [otherwise]
    return _begins(first.lower() + "".join(map(_capital, others)), otherwise)


def upper_camel(name: str, otherwise: str = "Model") -> str:
    """`digits_cnn` as `DigitsCnn`: classes."""
    return _begins("".join(map(_capital, words(name))) or otherwise, otherwise)


def snake(name: str, otherwise: str = "tensor") -> str:
    """`Digits-CNN` as `digits_cnn`: Python, and packages."""
    return _begins("_".join(words(name)).lower() or otherwise, otherwise)


def distinct(
    names: Iterable[str], style: Callable[[str], str], reserved: Iterable[str], taken: Iterable[str] = ()
) -> list[str]:
    """An identifier for each name, in order: keywords get a `_`, what is there already a number.

    Args:
        names: what to name.
        style: such as `lower_camel`.
        reserved: the language's keywords.
        taken: identifiers of the same scope.
    """
    avoid, seen, found = set(reserved), set(taken), list[str]()
    for name in names:
        base = style(name)
        chosen, count = (f"{base}_" if base in avoid else base), 2
        while chosen in seen or chosen in avoid:
            chosen, count = f"{base}_{count}", count + 1
        seen.add(chosen)
        found.append(chosen)
    return found


def literal(text: str, form: str = "\\u{:04x}", also: str = "") -> str:
    """A string literal: printable ASCII in double quotes, all else as UTF-16 units in `form`.

    Args:
        text: what the string has to be.
        form: how the language escapes a unit: Swift and Kotlin differ.
        also: characters of the language to escape besides `"` and `\\`, such as Kotlin's `$`.
    """
    shown = []
    for character in text:
        if " " <= character <= "~" and character not in '"\\' + also:
            shown.append(character)
        else:
            data = character.encode("utf-16-be", "surrogatepass")
            shown += [form.format(int.from_bytes(data[i : i + 2], "big")) for i in range(0, len(data), 2)]
    return '"' + "".join(shown) + '"'


def comment(text: str) -> str:
    """For a comment of one line or a document: printable ASCII on one line, without what ends a comment."""
    shown = "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)
    return shown.replace("\\", "/").replace("*/", "* /").replace("/*", "/ *").replace('"""', "'''")


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:].lower()


def _begins(name: str, otherwise: str) -> str:
    return name if name[:1].isalpha() else otherwise + name[:1].upper() + name[1:]
