#!/usr/bin/python3
"""RTSP cameras for the tests: pre-encoded access units, served in a loop at real time, never re-encoded.

Reads one JSON object from standard input, so that no password stands in a process list:

    {"host": "127.0.0.1", "port": 0, "user": "u", "password": "p",
     "cameras": [{"path": "gate", "file": "gate.h264", "codec": "h264", "fps": 25, "audio": "aac",
                  "damage_every": 0, "start": 0},
                 {"path": "odd", "launch": "videotestsrc is-live=true ! jpegenc ! rtpjpegpay name=pay0"}]}

Prints {"port": N} once it listens. Streams need access unit delimiters and closed GOPs. Time stamps are those of a
camera with an ideal clock: frame k is at k / fps for ever, also across the loop. A process that was stopped for longer
than a second goes on as a camera does, with the next keyframe at the present time: what lay between is lost.
"""
import json
import random
import signal
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LATE_SECONDS = 1.0
CHAINS = {
    "h264": ("video/x-h264", "rtph264pay", "h264parse"),
    "h265": ("video/x-h265", "rtph265pay", "h265parse"),
}
AUDIO = {
    "aac": "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=48000,channels=1 ! audioconvert ! voaacenc bitrate=32000 "
    "! aacparse ! rtpmp4gpay name=pay1 pt=97",
    "pcmu": "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=8000,channels=1 ! audioconvert ! mulawenc "
    "! rtppcmupay name=pay1 pt=0",
}


def nal_units(stream):
    """Yields (start of its start code, first byte) of each NAL unit in Annex B order."""
    at = stream.find(b"\0\0\1")
    while at >= 0 and at + 3 < len(stream):
        yield (at - 1 if at and stream[at - 1] == 0 else at), stream[at + 3]
        at = stream.find(b"\0\0\1", at + 3)


def access_units(stream, codec):
    """Splits at access unit delimiters; returns [(bytes, is keyframe)]."""
    if codec == "h264":
        kind, delimiter, keyframes = (lambda b: b & 31), 9, {5}
    else:
        kind, delimiter, keyframes = (lambda b: (b >> 1) & 63), 35, {16, 17, 18, 19, 20, 21}
    units, start, key = [], None, False
    for at, first in nal_units(stream):
        if kind(first) == delimiter:
            if start is not None:
                units.append((stream[start:at], key))
            start, key = at, False
        key = key or kind(first) in keyframes
    if start is None:
        raise SystemExit("rtsp_server: the stream has no access unit delimiters; encode it with aud=1")
    units.append((stream[start:], key))
    return units


def damaged(unit, seed):
    """The same length and NAL headers, but random payload: what a failing camera or a bad cable sends."""
    noise = random.Random(seed)
    out = bytearray(unit)
    for at in range(min(12, len(out)), len(out)):
        out[at] = noise.randrange(1, 256)
    return bytes(out)


class Camera(GstRtspServer.RTSPMediaFactory):
    """One mount point; all its viewers share one feed."""

    def __init__(self, spec):
        super().__init__()
        self.set_shared(True)
        self.set_latency(0)
        self.feeds = "launch" not in spec
        if not self.feeds:
            self.set_launch(f"( {spec['launch']} )")
            return
        codec = spec.get("codec", "h264")
        caps, payloader, parser = CHAINS[codec]
        self.fps = spec.get("fps", 25)
        with open(spec["file"], "rb") as source:
            units = access_units(source.read(), codec)
        every = spec.get("damage_every", 0)
        if every:
            units = [(damaged(u, i) if i % every == every - 1 else u, k) for i, (u, k) in enumerate(units)]
        self.units = [(Gst.Buffer.new_wrapped(data), key) for data, key in units]
        keyframes = [i for i, (_, key) in enumerate(units) if key]
        self.start = keyframes[spec.get("start", 0) % len(keyframes)]
        audio = AUDIO[spec["audio"]] if spec.get("audio") else ""
        self.set_launch(
            f"( appsrc name=feed is-live=true format=time max-bytes=16000000 "
            f'caps="{caps},stream-format=byte-stream,alignment=au,framerate={self.fps}/1" '
            f"! {parser} config-interval=-1 ! {payloader} name=pay0 pt=96 config-interval=-1 mtu=1400 {audio} )"
        )
        self.connect("media-configure", self.configured)

    def configured(self, _factory, media):
        ended = threading.Event()
        media.connect("unprepared", lambda *_: ended.set())
        feed = media.get_element().get_child_by_name("feed")
        threading.Thread(target=self.run, args=(feed, ended), daemon=True).start()

    def run(self, feed, ended):
        began, frame, at = time.monotonic(), 0, self.start
        while not ended.is_set():
            late = time.monotonic() - (began + frame / self.fps)
            if late > LATE_SECONDS:
                frame += int(late * self.fps)
                while not self.units[at][1]:
                    at = (at + 1) % len(self.units)
            buffer = self.units[at][0].copy()
            buffer.pts = buffer.dts = frame * Gst.SECOND // self.fps
            buffer.duration = Gst.SECOND // self.fps
            if feed.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return
            at, frame = (at + 1) % len(self.units), frame + 1
            ended.wait(max(0.0, began + frame / self.fps - time.monotonic()))


def guard(server, user, password):
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, token)
    server.set_auth(auth)


def main():
    spec = json.load(sys.stdin)
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(spec.get("host", "127.0.0.1"))
    server.set_service(str(spec.get("port", 0)))
    mounts = server.get_mount_points()
    for camera in spec["cameras"]:
        factory = Camera(camera)
        if spec.get("user"):
            permissions = GstRtspServer.RTSPPermissions()
            for right in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role("viewer", right, True)
            factory.set_permissions(permissions)
        mounts.add_factory("/" + camera["path"], factory)
    if spec.get("user"):
        guard(server, spec["user"], spec["password"])
    if not server.attach(None):
        raise SystemExit("rtsp_server: cannot listen on %s:%s" % (server.get_address(), server.get_service()))
    print(json.dumps({"port": server.get_bound_port()}), flush=True)
    loop = GLib.MainLoop()
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGTERM, loop.quit)
    loop.run()


if __name__ == "__main__":
    main()
