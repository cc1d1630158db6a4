"""Small bodies that mean to become huge, and a program that decodes one and says how much memory that took.

    python -m tests.greenq.codecs.bombs zlib-zeros

prints the name of the error and the most memory (MiB) that the process ever held.
"""

from __future__ import annotations

import bz2
import lzma
import re
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

from greenq.codecs import Codecs
from greenq.errors import GreenqError

MIB = 1024 * 1024
ZEROS = bytes(MIB)
PARTS = 1024
"""How often a part that gives a MiB of zeros is repeated: 1 GiB."""

TYPES = {
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "lzma": "application/x-lzma",
    "zstd": "application/zstd",
    "brotli": "application/x-brotli",
}


# Each makes one stream of 1 GiB, without compressing 1 GiB where that would take seconds.


def zlib_zeros() -> bytes:
    stream = zlib.compressobj(9)
    head = stream.compress(b"") + stream.flush(zlib.Z_FULL_FLUSH)
    part = stream.compress(ZEROS) + stream.flush(zlib.Z_FULL_FLUSH)
    return head + part * PARTS


def bzip2_zeros() -> bytes:
    """Repeat the first block, whose bits end where the end-of-stream mark begins."""
    packed = bz2.compress(ZEROS * 4, 1)
    bits = "".join(f"{byte:08b}" for byte in packed)
    block = bits[32 : bits.index(f"{0x177245385090:048b}")]
    bits = bits[:32] + block * (PARTS // 4)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def lzma_zeros() -> bytes:
    """Repeat the chunks of an xz block; each begins with a fresh dictionary."""
    packed = lzma.compress(ZEROS)
    head = 12 + (packed[12] + 1) * 4
    chunks = lzma.compress(ZEROS, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])[:-1]
    return packed[:head] + chunks * PARTS + b"\0"


def zstd_zeros() -> bytes:
    import zstandard

    stream = zstandard.ZstdCompressor().compressobj()
    return b"".join(stream.compress(ZEROS) for _ in range(PARTS)) + stream.flush()


def zstd_declared() -> bytes:
    """The same with the size in the frame's header."""
    import zstandard

    stream = zstandard.ZstdCompressor().compressobj(size=PARTS * MIB)
    return b"".join(stream.compress(ZEROS) for _ in range(PARTS)) + stream.flush()


def zstd_window() -> bytes:
    """It asks for a window of 128 MiB."""
    import zstandard

    wide = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    return b"".join(stream.compress(ZEROS) for _ in range(PARTS)) + stream.flush()


def lzma_window() -> bytes:
    """It asks for a dictionary of 4 GiB; its header is changed by hand."""
    packed = bytearray(lzma.compress(b"[]"))
    size = (packed[12] + 1) * 4
    packed[12 + 4] = 40  # 4 GiB - 1, see the xz format, 5.3.1
    packed[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(packed[12 : 12 + size - 4]))
    return bytes(packed)


def brotli_zeros() -> bytes:
    import brotli

    stream = brotli.Compressor(quality=4)
    return b"".join(stream.process(ZEROS) for _ in range(PARTS)) + bytes(stream.finish())


def _many(compression: str) -> Callable[[], bytes]:
    return lambda: Codecs()._compressions.load(compression).compress(ZEROS * 16) * 64


def _nested(compression: str) -> Callable[[], bytes]:
    return lambda: Codecs()._compressions.load(compression).compress(BOMBS[f"{compression}-zeros"][0]())


def yaml_laughs() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


def yaml_merges() -> bytes:
    lines = ["a0: &a0 {x: 1, y: 2, z: 3}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    return "\n".join(lines).encode()


def yaml_tower() -> bytes:
    """Each line is one level deeper by its alias, and no deeper in the text."""
    return "\n".join(["- &a0 []", *(f"- &a{n} [*a{n - 1}]" for n in range(1, 5000))]).encode()


JSON, MSGPACK, YAML = "application/json", "application/x-msgpack", "application/x-yaml"
BOMBS: dict[str, tuple[Callable[[], bytes], str, str | None]] = {
    "zlib-zeros": (zlib_zeros, JSON, TYPES["zlib"]),
    "bzip2-zeros": (bzip2_zeros, JSON, TYPES["bzip2"]),
    "lzma-zeros": (lzma_zeros, JSON, TYPES["lzma"]),
    "lzma-window": (lzma_window, JSON, TYPES["lzma"]),
    "zstd-zeros": (zstd_zeros, JSON, TYPES["zstd"]),
    "zstd-declared": (zstd_declared, JSON, TYPES["zstd"]),
    "zstd-window": (zstd_window, JSON, TYPES["zstd"]),
    "brotli-zeros": (brotli_zeros, JSON, TYPES["brotli"]),
    **{f"{name}-many": (_many(name), JSON, kind) for name, kind in TYPES.items()},
    **{f"{name}-nested": (_nested(name), JSON, kind) for name, kind in TYPES.items()},
    "json-deep": (lambda: b"[" * 1_000_000 + b"]" * 1_000_000, JSON, None),
    "json-deep-dicts": (lambda: b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, JSON, None),
    "json-deep-extended": (lambda: b'["__type__",' + b"[" * 1_000_000 + b"]" * 1_000_001, JSON, None),
    "json-unclosed": (lambda: b"[" * 20_000_000, JSON, None),
    "json-containers": (lambda: b"[" + b"[]," * 6_000_000 + b"1]", JSON, None),
    "json-digits": (lambda: b"[" + b"7" * 10_000_000 + b"]", JSON, None),
    "msgpack-deep": (lambda: b"\x91" * 1_000_000 + b"\x90", MSGPACK, None),
    "msgpack-lengths": (lambda: b"\xdd\x00\xff\xff\xff" * 1000 + bytes(16 * MIB), MSGPACK, None),
    "msgpack-lengths-cut": (lambda: b"\xdd\x00\x10\x00\x00" * 210_000, MSGPACK, None),
    "msgpack-maps": (lambda: b"\xdd\x00\xff\xff\xff" + b"\x80" * 0xFFFFFF, MSGPACK, None),
    "yaml-laughs": (yaml_laughs, YAML, None),
    "yaml-merges": (yaml_merges, YAML, None),
    "yaml-tower": (yaml_tower, YAML, None),
    "yaml-itself": (lambda: b"&a [*a, *a]", YAML, None),
    "yaml-deep": (lambda: b"[" * 1_000_000, YAML, None),
    "yaml-indented": (lambda: b"\n".join(b" " * n + b"-" for n in range(3000)), YAML, None),
    "yaml-nodes": (lambda: b"- a\n" * 4_000_000, YAML, None),
    "yaml-sixties": (lambda: b"1" + b":59" * 3_000_000, YAML, None),
    "yaml-sixties-float": (lambda: b"1" + b":59" * 3_000_000 + b".5", YAML, None),
}


def _peak() -> float:
    """The most memory (MiB) since this program began; rusage's figure would count the parent's too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def main(path: str, content_type: str, compression: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (640 * MIB, 640 * MIB))
    body = Path(path).read_bytes()
    codecs = Codecs(accept=("json", "msgpack", "yaml"))
    try:
        codecs.decode(body, content_type, "utf-8", compression or None)
    except GreenqError as error:
        print(type(error).__name__, _peak(), error)


if __name__ == "__main__":
    main(*sys.argv[1:])
