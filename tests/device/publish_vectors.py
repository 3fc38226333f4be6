"""tests/vectors/publish.json, and its packets as docs/wire-format.md shows them.

python -m tests.device.publish_vectors      print the document's fenced blocks, one for each packet
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```hex name=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BYTES_PER_LINE = 16


def load() -> dict[str, Any]:
    """The file as it is."""
    content: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "publish.json").read_text(encoding="utf-8"))
    return content


def packet_of(vector: dict[str, Any]) -> bytes:
    """The bytes of a packet: its fields, one after the other."""
    return b"".join(bytes.fromhex(text) for text, _ in vector["fields"])


def documented(text: str) -> dict[str, bytes]:
    """The packets in a document by name: blocks fenced with ```hex name=..., white space and # comments left out."""
    blocks = {}
    for name, body in _BLOCK.findall(text):
        if name in blocks:
            raise ValueError(f"two blocks are named {name}")
        blocks[name] = bytes.fromhex("".join(line.partition("#")[0] for line in body.splitlines()))
    return blocks


def block(vector: dict[str, Any]) -> str:
    """A packet as a fenced block: 16 bytes a line, each field's meaning behind its last line."""
    lines = [f"```hex name={vector['name']}"]
    for text, meaning in vector["fields"]:
        data = bytes.fromhex(text)
        rows = [data[at : at + BYTES_PER_LINE].hex(" ") for at in range(0, len(data), BYTES_PER_LINE)]
        lines += rows[:-1]
        lines.append(f"{rows[-1]:<{3 * BYTES_PER_LINE}} # {meaning}")
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    print("\n\n".join(block(vector) for vector in load()["packets"]))
