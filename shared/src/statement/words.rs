//! The closed lists of statements.

use crate::words::words;

words!(
    /// Why a stretch was not recorded.
    GapCause {
        /// The camera does not answer.
        CameraUnreachable = 0 "camera-unreachable",
        /// The camera answers and refuses: wrong password, no such stream.
        CameraRefused = 1 "camera-refused",
        /// The connection stands, but no picture comes.
        CameraStalled = 2 "camera-stalled",
        /// Pictures come, but none that decoding can start from.
        NoKeyframe = 3 "no-keyframe",
        /// The stream is in a format that is not recorded.
        UnsupportedCodec = 4 "unsupported-codec",
        /// The source came to its end, as a file does.
        SourceEnded = 5 "source-ended",
        /// The clock was set; the stretch exists on no clock.
        ClockStep = 6 "clock-step",
        /// The disk is full.
        DiskFull = 7 "disk-full",
        /// The disk failed to write.
        DiskError = 8 "disk-error",
        /// The agent ended and started again.
        AgentRestart = 9 "agent-restart",
        /// The machine lost power or was killed; what was in flight is lost.
        PowerLoss = 10 "power-loss",
        /// Somebody's consent is missing or was withdrawn.
        ConsentWithheld = 11 "consent-withheld",
        /// There is no footage key for this time.
        NoKey = 12 "no-key",
        /// Somebody stopped the agent.
        Stopped = 13 "stopped",
        /// Packets were lost between camera and agent.
        PacketLoss = 14 "packet-loss",
    }
);

words!(
    /// What keeps the agent's clock right.
    ClockSource {
        /// Nothing, or it is not known.
        Unsynchronised = 0 "unsynchronised",
        /// The machine's battery-backed clock.
        Rtc = 1 "rtc",
        /// NTP without authentication.
        Ntp = 2 "ntp",
        /// NTP with network time security.
        Nts = 3 "nts",
        /// The server's signed time.
        Server = 4 "server",
    }
);

words!(
    /// Where frame times come from.
    Timing {
        /// From the camera's own timestamps.
        Source = 0 "source",
        /// From the moment of arrival, because the camera's were missing or useless.
        Arrival = 1 "arrival",
    }
);

words!(
    /// How the video is coded.
    Codec {
        /// H.264, also called AVC.
        H264 = 0 "h264",
        /// H.265, also called HEVC.
        H265 = 1 "h265",
    }
);

words!(
    /// What was done to a camera.
    TamperKind {
        /// The lens was covered.
        Covered = 0 "covered",
        /// The camera was turned or moved.
        Moved = 1 "moved",
        /// The picture lost its sharpness.
        Defocused = 2 "defocused",
        /// The cable or the network was cut.
        Disconnected = 3 "disconnected",
    }
);

words!(
    /// Why files were destroyed.
    DestroyReason {
        /// Their retention ended.
        Retention = 0 "retention",
        /// The server ordered it, with proof of a decision.
        Ordered = 1 "ordered",
        /// They were damaged beyond use.
        Damaged = 2 "damaged",
    }
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::{Cbor as _, CborError};
    use crate::words::UnknownWord;

    #[test]
    fn words_and_numbers_come_back() {
        for cause in GapCause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(*cause));
            assert_eq!(GapCause::from_cbor(&cause.to_cbor()), Ok(*cause));
        }
        assert_eq!(GapCause::ALL.len(), 15);
        assert_eq!(GapCause::from_cbor(&[15]), Err(CborError::Value("GapCause")));
        assert_eq!("camera_refused".parse::<GapCause>(), Err(UnknownWord("GapCause")));
        assert_eq!(serde_json::to_string(&ClockSource::Nts).unwrap(), "\"nts\"");
    }
}
