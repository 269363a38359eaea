"""Recordings that really play, written byte by byte: a video, a voice message, a song; no codec is needed.

The video is H.264 baseline: one picture of uncompressed macroblocks (I_PCM), then pictures that repeat it.
Voice is Opus in Ogg, the song is MPEG-1 Layer III; both are silence.
Source: ITU-T H.264 7.3, ISO/IEC 14496-12 and -15, RFC 3533, RFC 7845, ISO/IEC 11172-3.
"""

import struct
from collections.abc import Iterator

from PIL import Image

MACROBLOCK = 16
"""Width and height of a macroblock in pixels: a video's sides are multiples of it."""
FRAMES_PER_SECOND = 5
_OPUS_RATE = 48_000
_OPUS_SILENCE = b"\xf8\xff\xfe"
"""20 ms of stereo silence."""
_PACKETS_PER_PAGE = 50
_MP3_FRAME = b"\xff\xfb\x90\xc4" + bytes(413)
"""128 kbit/s, 44.1 kHz, mono, all zero: 1152 samples of silence."""
_MP3_FRAME_SECONDS = 1152 / 44_100
_MOVIE_TIMESCALE = 1000


def song(seconds: float, size_bytes: int | None = None) -> bytes:
    """An MP3 of silence; a tag in front fills it up to `size_bytes`."""
    frames = _MP3_FRAME * max(1, round(seconds / _MP3_FRAME_SECONDS))
    padding = 0 if size_bytes is None else size_bytes - len(frames) - 10
    if padding <= 0:
        return frames
    size = bytes((padding >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + bytes(padding) + frames


def voice(seconds: float) -> bytes:
    """An Ogg Opus file of silence."""
    packets = max(1, round(seconds * 50))
    head = b"OpusHead\x01\x02" + struct.pack("<HIhB", 0, _OPUS_RATE, 0, 0)
    vendor = b"sandbox"
    tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)
    pages = [_ogg_page([head], 0, 0, 0x02), _ogg_page([tags], 1, 0, 0x00)]
    done = 0
    while done < packets:
        count = min(_PACKETS_PER_PAGE, packets - done)
        done += count
        flags = 0x04 if done == packets else 0x00
        pages.append(_ogg_page([_OPUS_SILENCE] * count, len(pages), done * 960, flags))
    return b"".join(pages)


def _ogg_page(packets: list[bytes], number: int, granule: int, flags: int) -> bytes:
    lacing = bytes(len(packet) for packet in packets)  # every packet here is shorter than 255 bytes
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 0x526F7A, number, 0, len(lacing))
    page = header + lacing + b"".join(packets)
    return page[:22] + struct.pack("<I", _ogg_crc(page)) + page[26:]


def _ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def movie(picture: Image.Image, seconds: float) -> bytes:
    """An MP4 that shows `picture` for so long; its sides are multiples of `MACROBLOCK`."""
    width, height = picture.size
    macroblocks = (width // MACROBLOCK) * (height // MACROBLOCK)
    sps, pps = _sequence(width, height), _picture_parameters()
    frames = max(1, round(seconds * FRAMES_PER_SECOND))
    samples = [_length_first(_whole_picture(picture))]
    samples += [_length_first(_repeat(n % 16, macroblocks)) for n in range(1, frames)]
    ftyp = _box(b"ftyp", b"isom" + struct.pack(">I", 0x200) + b"isomiso2avc1mp41")
    sizes = [len(sample) for sample in samples]
    # The table of offsets has a fixed length, so the first try tells where the samples begin.
    offset = len(ftyp) + len(_moov(width, height, sizes, 0, sps, pps)) + 8
    return ftyp + _moov(width, height, sizes, offset, sps, pps) + _box(b"mdat", b"".join(samples))


def filler(missing_bytes: int) -> Iterator[bytes]:
    """A `free` box of this length, in pieces: it makes a movie as long as wanted, and players skip it."""
    if missing_bytes < 8:
        return
    yield struct.pack(">I4s", missing_bytes, b"free")
    left = missing_bytes - 8
    while left:
        piece = min(left, 1 << 20)
        yield bytes(piece)
        left -= piece


class _Bits:
    """Bits of a NAL unit, most significant first."""

    def __init__(self) -> None:
        self._bits = ""

    def fixed(self, value: int, width: int) -> "_Bits":
        self._bits += format(value, f"0{width}b")
        return self

    def golomb(self, *values: int) -> "_Bits":
        """Unsigned Exp-Golomb codes."""
        for value in values:
            code = format(value + 1, "b")
            self._bits += "0" * (len(code) - 1) + code
        return self

    def padded(self, first_bit: str) -> bytes:
        """Whole bytes: the rest of the last one is `first_bit` and zeros."""
        bits = self._bits + first_bit
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _sequence(width: int, height: int) -> bytes:
    bits = _Bits().fixed(66, 8).fixed(0xC0, 8).fixed(30, 8).golomb(0, 0, 2, 1).fixed(0, 1)
    bits.golomb(width // MACROBLOCK - 1, height // MACROBLOCK - 1).fixed(0b1100, 4)
    return b"\x67" + _escaped(bits.padded("1"))


def _picture_parameters() -> bytes:
    bits = _Bits().golomb(0, 0).fixed(0, 2).golomb(0, 0, 0).fixed(0, 3).golomb(0, 0, 0).fixed(0b100, 3)
    return b"\x68" + _escaped(bits.padded("1"))


def _whole_picture(picture: Image.Image) -> bytes:
    """An IDR picture of I_PCM macroblocks: the samples themselves."""
    head = _Bits().golomb(0, 7, 0).fixed(0, 4).golomb(0).fixed(0, 2).golomb(0, 1).golomb(25)
    width, height = picture.size
    # Studio range; no byte is zero, so nothing in it needs escaping.
    full, blue, red = picture.convert("YCbCr").split()
    luma = full.point([16 + v * 219 // 255 for v in range(256)]).tobytes()
    half = (width // 2, height // 2)
    chroma = [
        plane.resize(half).point([16 + v * 224 // 255 for v in range(256)]).tobytes() for plane in (blue, red)
    ]
    parts = [head.padded("")]
    for top in range(0, height, MACROBLOCK):
        for left in range(0, width, MACROBLOCK):
            if parts[1:]:
                parts.append(b"\x0d\x00")  # the code of I_PCM and the bits up to the next whole byte
            starts = range(top * width + left, (top + MACROBLOCK) * width + left, width)
            parts += [luma[start : start + MACROBLOCK] for start in starts]
            for plane in chroma:
                first = (top // 2) * half[0] + left // 2
                starts = range(first, first + 8 * half[0], half[0])
                parts += [plane[start : start + 8] for start in starts]
    return b"\x65" + b"".join(parts) + b"\x80"


def _repeat(frame_number: int, macroblocks: int) -> bytes:
    """A picture that says of every macroblock: as before."""
    bits = _Bits().golomb(0, 5, 0).fixed(frame_number, 4).fixed(0, 3).golomb(0, 1, macroblocks)
    return b"\x41" + _escaped(bits.padded("1"))


def _escaped(payload: bytes) -> bytes:
    """Two zero bytes and a small one must not look like a start code."""
    result = bytearray()
    zeros = 0
    for byte in payload:
        if zeros == 2 and byte <= 3:
            result.append(3)
            zeros = 0
        result.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(result)


def _length_first(unit: bytes) -> bytes:
    return struct.pack(">I", len(unit)) + unit


def _box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, name) + body


def _full_box(name: bytes, flags: int, *content: bytes) -> bytes:
    return _box(name, struct.pack(">I", flags), *content)


def _moov(width: int, height: int, sizes: list[int], offset: int, sps: bytes, pps: bytes) -> bytes:
    """The description of a movie with one track, all its samples in one chunk at `offset`."""
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    frame_ticks = _MOVIE_TIMESCALE // FRAMES_PER_SECOND
    ticks = len(sizes) * frame_ticks
    times = struct.pack(">IIII", 0, 0, _MOVIE_TIMESCALE, ticks)
    avcc = b"\x01" + sps[1:4] + b"\xff\xe1" + struct.pack(">H", len(sps)) + sps
    avcc += b"\x01" + struct.pack(">H", len(pps)) + pps
    avc1 = _box(
        b"avc1",
        struct.pack(">6xH16xHHIII H32s Hh", 1, width, height, 0x480000, 0x480000, 0, 1, b"", 24, -1),
        _box(b"avcC", avcc),
    )
    table = _box(
        b"stbl",
        _full_box(b"stsd", 0, struct.pack(">I", 1), avc1),
        _full_box(b"stts", 0, struct.pack(">III", 1, len(sizes), frame_ticks)),
        _full_box(b"stss", 0, struct.pack(">II", 1, 1)),
        _full_box(b"stsc", 0, struct.pack(">IIII", 1, 1, len(sizes), 1)),
        _full_box(b"stsz", 0, struct.pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)),
        _full_box(b"stco", 0, struct.pack(">II", 1, offset)),
    )
    here = _box(b"dinf", _full_box(b"dref", 0, struct.pack(">I", 1), _full_box(b"url ", 1)))
    media = _box(
        b"mdia",
        _full_box(b"mdhd", 0, times, struct.pack(">HH", 0x55C4, 0)),
        _full_box(b"hdlr", 0, struct.pack(">I4s12x", 0, b"vide"), b"video\0"),
        _box(b"minf", _full_box(b"vmhd", 1, bytes(8)), here, table),
    )
    track = _full_box(
        b"tkhd", 3, struct.pack(">IIIII16x", 0, 0, 1, 0, ticks), matrix,
        struct.pack(">II", width << 16, height << 16),
    )  # fmt: skip
    movie_header = _full_box(
        b"mvhd", 0, times, struct.pack(">IH10x", 0x10000, 0x100), matrix, bytes(24), struct.pack(">I", 2)
    )
    return _box(b"moov", movie_header, _box(b"trak", track, media))
