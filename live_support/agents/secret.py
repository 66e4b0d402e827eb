"""Reads the HS256 secret of `AGENT_JWT_SECRET`, and refuses texts that are not secret.

A text that can be known from a document, an address or a file name is no secret: others could forge tokens with it. A
random text never looks like one of these, so a text that does is refused.
"""

import base64
import binascii
import re
from pathlib import Path

_SECRET_BYTES = 32


class UnusableKey(ValueError):
    """Raised when a key or a secret cannot be used; the message says why, and holds nothing of it."""


def _matching(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL | re.ASCII)


# Each pattern is matched from the beginning.
_QUOTED = _matching(r"""(["'`]).*\1$|[“”„«‘’].*[“”«»‘’]$|["'`]\s*(-----BEGIN|[\[{])""")  # noqa: RUF001
_UNEXPANDED = _matching(
    r"\$[A-Za-z_]\w*$|.*(\$\{[^}]*\}|\$\([^)]*\)|\{\{.*\}\}|<%.*%>)|%\w+%$|.*%[A-Z][A-Z0-9]*(_[A-Z0-9]+)+%|<.*>$|@Microsoft\.KeyVault\("
    r"|#\{.*\}#?$|__\w+__$|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$"
)
_OPENSSH = _matching(r"(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[\w@.-]+ |---- BEGIN SSH2")
_ADDRESS = _matching(r".*://")
# The rest is checked in secrets only; for a key such a text is the name of a missing file.
_HOST = _matching(r"[a-z][a-z0-9+.-]+:|(localhost|\d+(\.\d+){3}|([\w-]+\.)+[A-Za-z]{2,})(:\d+)?(/\S*)?$")
_KEY = _matching(r""".*-----(BEGIN|END) |\{.*\}$|\{\s*"|\[.*\]$|\[\s*[{"]|eyJ[\w-]+\.""")
# With a slash, and only characters of standard base64, it may be a secret.
_PATH = _matching(
    r"[A-Za-z]:[\\/]|\\\\|\.\.?/|~[\w.-]*(/|$)|(?=.*/)(?=[^A-Z]*$|.*[._-])[\w./@-]+$"
    r"|[\w.-]+\.(pem|pub|jwks?|json|key|crt|cer|der|txt|env|ya?ml)$"
)
_PLACEHOLDER = re.compile(
    r"change[-_. ]?(me|it|this)|replace[-_. ]?(me|this|with)|place[-_. ]?holder"
    r"|your[-_. ]?(own[-_. ]?)?(jwt|agent|secret|key|password|token)",
    re.IGNORECASE,
)


def refuse_what_was_not_meant(text: str) -> None:
    """Refuse a text that is neither a key nor a secret nor a path, but is often given by mistake.

    Raises:
        UnusableKey: it is such a text.
    """
    if _QUOTED.match(text):
        raise UnusableKey("the value stands in quotation marks, which count as a part of it; leave them out")
    if _UNEXPANDED.match(text):
        raise UnusableKey("this is a placeholder or the name of a variable, whose value was not put in its place")
    if text[:5].lower() == "file:":
        raise UnusableKey("give the path alone, without file:")
    if _ADDRESS.match(text):
        raise UnusableKey("this is an address; nothing is fetched, so give the keys themselves, or a file with them")
    if _OPENSSH.match(text):
        raise UnusableKey("this is an OpenSSH key; give it as PEM (`ssh-keygen -e -m PKCS8 -f FILE`)")
    if _is_der(text):
        raise UnusableKey("this is a key without the lines around it; put it between BEGIN and END PUBLIC KEY, as PEM")


def load(text: str) -> bytes:
    """Read the value of `AGENT_JWT_SECRET`.

    Raises:
        UnusableKey: it is too short, or others could know it.
    """
    refuse_what_was_not_meant(text)
    if _KEY.match(text) or _KEY.match(_decoded(text).decode("latin1")):
        raise UnusableKey("this looks like a key or a token; public keys go into LIVE_SUPPORT_AGENT_JWT_KEY")
    if _PATH.match(text) or _is_file(text):
        raise UnusableKey("this looks like the path of a file; give the secret itself")
    if _HOST.match(text):
        raise UnusableKey("this looks like an address; give the secret itself")
    if _PLACEHOLDER.search(text):
        raise UnusableKey("this is a placeholder; make a secret with `openssl rand -base64 48`")
    if not all("\udc80" <= each <= "\udcff" or (each.isprintable() and not each.isspace()) for each in text):
        raise UnusableKey("there is white space in it, or a character that cannot be seen")
    secret = text.encode(errors="surrogateescape")  # as it is in the environment, even if it is not UTF-8
    if len(secret) < _SECRET_BYTES:
        raise UnusableKey(f"a secret has at least {_SECRET_BYTES} bytes")
    return secret


def _is_der(text: str) -> bool:
    """Whether it is base64 of one ASN.1 sequence, as keys and certificates are."""
    data = _decoded(text)
    if len(data) < 2 or data[0] != 0x30:
        return False
    if data[1] < 0x80:
        return len(data) == 2 + data[1]
    return data[1] in (0x81, 0x82)  # the end of a longer one may be missing


def _decoded(text: str) -> bytes:
    """Decode base64 of any kind; empty if it is none."""
    plain = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False
