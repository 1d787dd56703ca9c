"""Files that libsndfile cannot read, decoded by FFmpeg; only in a process of its own, `maeum.audio.ffmpeg_process`."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import numpy as np
from av import AudioFrame, Packet
from av.audio.stream import AudioStream
from av.container import InputContainer

from maeum.audio.resampling import Block, check_channels
from maeum.errors import UndecodableAudio

# FFmpeg's demuxers for what people record and upload, and no protocol: others read playlists (concat, hls), open
# files by name or listen on the network (sdp).
_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,dv,eac3,flac,flv,loas,matroska,"
    "mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,qcp,rm,tak,tta,voc,w64,wav,wv",
    "protocol_whitelist": "",
}
_MAX_CHANGES = 64


def ffmpeg_blocks(data: bytes) -> Iterator[Block]:
    """Decode the first audio track of a file.

    Raises:
        UndecodableAudio: there is none, or none that can be decoded.
    """
    if data.startswith(b"RIFX"):  # whose samples FFmpeg takes for little-endian
        raise UndecodableAudio("a big-endian WAV file of this kind is not supported")
    try:
        with av.open(io.BytesIO(data), "r", options=_OPTIONS, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise UndecodableAudio("the file has no audio track")
            codec = container.streams.audio[0].codec_context
            if codec is None:  # PyAV's types say that it cannot be
                raise UndecodableAudio("the file's audio track is of a kind that nothing here can decode")
            check_channels(codec.channels)
            convert = _Converter()
            for packet in _packets(container):
                frames = _decoded(packet)
                if not frames:
                    yield 0, np.empty((0, max(1, codec.channels)), np.float32)
                for frame in frames:
                    check_channels(frame.layout.nb_channels)
                    for converted in convert(frame):
                        yield converted.sample_rate, converted.to_ndarray().reshape(-1, frame.layout.nb_channels)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise UndecodableAudio("the file is not audio that can be decoded") from error


class _Converter:
    """Frames, packed or planar and of any width, to packed float32: a change of format, not of rate.

    Of a planar frame with 8 planes or more, PyAV 18's `AudioFrame.planes` reads out of bounds, which ends the process.
    A phone that goes over to another microphone while it records changes the rate or the channels on the way.
    """

    def __init__(self) -> None:
        self._kind: tuple[str, str, int] | None = None
        self._changes = 0

    def __call__(self, frame: AudioFrame) -> list[AudioFrame]:
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self._kind:
            self._changes += 1
            if self._changes > _MAX_CHANGES:
                raise UndecodableAudio("the recording changes its rate or its channels again and again")
            self._kind, self._resampler = kind, av.AudioResampler(format="flt")
        return self._resampler.resample(frame)


def _decoded(packet: Packet[AudioStream]) -> list[AudioFrame]:
    """A packet's frames; one that is damaged has none and is skipped, as players do."""
    try:
        return packet.decode()
    except MemoryError:
        raise
    except av.FFmpegError:  # decoders have many names for damage
        return []


def _packets(container: InputContainer) -> Iterator[Packet[AudioStream]]:
    """The first audio track's packets, up to where the file is damaged beyond reading."""
    found = False
    try:
        for packet in container.demux(audio=0):
            yield packet
            found = True
    except MemoryError:
        raise
    except av.FFmpegError:
        if not found:
            raise
