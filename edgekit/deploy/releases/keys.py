"""Keys as files: NAME.pem, an Ed25519 key encrypted by a passphrase (PKCS #8), and NAME.pub.json, its public half.

The private file stays with one person or one CI job, the root's offline. The public file is what others add to a role.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.errors import ReleaseError
from edgekit.files import writing

if TYPE_CHECKING:
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner
    from securesystemslib.signer import Key as TufKey

NAME_FIELD = "x-edgekit-name"
"""Where metadata keeps a key's name, for people."""
_PUBLIC = ".pub.json"


class PublicKey(msgspec.Struct, frozen=True):
    """The public half: what a role trusts. `tuf` is python-tuf's own form of it."""

    name: str
    id: str
    tuf: Any


class Key(msgspec.Struct, frozen=True):
    """A private key that was opened. `signer` is python-tuf's."""

    public: PublicKey
    signer: Any


def generate_key(path: Path, passphrase: bytes | None) -> PublicKey:
    """Makes a new key: `path` (NAME.pem) and NAME.pub.json beside it.

    Args:
        path: a file that is not there yet.
        passphrase: what encrypts it; None leaves it readable to whoever can read the file.

    Raises:
        ReleaseError: the file is there.
        MissingPackageError: the extra `release` is not installed.
        StorageError: it cannot be written.
    """
    serialization, ed25519 = _cryptography()
    if path.exists():
        raise ReleaseError(
            f"{path} is there already, and is not replaced.",
            remedy="Choose another name; a role can change to a new key with `edgekit release role`.",
        )
    private = ed25519.Ed25519PrivateKey.generate()
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    content = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    public = _public(path.stem, _signer(private).public_key)
    with writing(path.with_suffix(_PUBLIC)):
        path.with_suffix(_PUBLIC).write_text(json.dumps(public.tuf.to_dict() | {"keyid": public.id}, indent=2) + "\n")
    return public


def read_key(path: Path, passphrase: bytes | None) -> Key:
    """Opens a private key.

    Raises:
        ReleaseError: there is none, or the passphrase is wrong.
        MissingPackageError: the extra `release` is not installed.
    """
    serialization, _ = _cryptography()
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), passphrase)
        signer = _signer(private)
    except OSError as error:
        raise ReleaseError(
            f"The key {path} cannot be read: {error.strerror}.", remedy="Name a NAME.pem file."
        ) from error
    except (ValueError, TypeError) as error:
        raise ReleaseError(
            f"The key {path} cannot be opened: {str(error).rstrip('.') or 'another passphrase is needed'}.",
            remedy="Check the passphrase (EDGEKIT_KEY_PASSPHRASE, or what is typed), and that it is a private key.",
        ) from error
    return Key(_public(path.stem, signer.public_key), signer)


def read_public_key(path: Path) -> PublicKey:
    """Reads the public half of a key, from NAME.pub.json.

    Raises:
        ReleaseError: it is none.
        MissingPackageError: the extra `release` is not installed.
    """
    _cryptography()
    from securesystemslib.signer import Key as TufKey

    path = path if path.name.endswith(_PUBLIC) else path.with_suffix(_PUBLIC)
    try:
        content = json.loads(path.read_bytes())
        key = TufKey.from_dict(content.pop("keyid"), content)
    except OSError as error:
        raise ReleaseError(
            f"The key {path} cannot be read: {error.strerror}.", remedy="Name a NAME.pub.json."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{path} is no public key: {error}.", remedy="Name a NAME.pub.json file.") from error
    return _public(path.name.removesuffix(_PUBLIC), key)


def _public(name: str, key: TufKey) -> PublicKey:
    named = key.unrecognized_fields.setdefault(NAME_FIELD, name)
    return PublicKey(str(named), key.keyid, key)


def _signer(private: Any) -> CryptoSigner:
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner(private)


def _cryptography() -> tuple[Any, Any]:
    from edgekit.plugins import require

    require(("tuf", "securesystemslib", "cryptography"), extra="release", purpose="signing and checking releases")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return serialization, ed25519
