//! What each kind of job needs of the machine.

use std::path::PathBuf;

use custody_shared::capture::Input;
use url::Url;

use crate::hardware;

/// Read to find a camera's address and to trust its certificate.
const RESOLVER: [&str; 17] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/gnutls",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    // The resolver loads its modules when it is first asked.
    "/lib",
    "/lib64",
    "/usr/lib",
];
/// Read by the drivers of graphics processors when they load.
const DRIVERS: [&str; 7] = [
    "/sys",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/share/drirc.d",
    "/usr/share/libdrm",
    "/etc/ld.so.cache",
];
/// DNS over TCP, for answers that do not fit a datagram.
const DNS: u16 = 53;

/// Paths, ports and abilities, beyond the pipes that every job has.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Needs {
    /// Files, and folders with everything below, to read.
    pub(crate) read: Vec<PathBuf>,
    /// Folders whose names are listed.
    pub(crate) list: Vec<PathBuf>,
    /// Device nodes to read, write and control.
    pub(crate) devices: Vec<PathBuf>,
    /// TCP ports to connect to; empty for a job without a network.
    pub(crate) ports: Vec<u16>,
    /// Files are opened again after the first picture.
    pub(crate) reopens: bool,
}

impl Needs {
    pub(crate) fn of(input: &Input) -> Self {
        let mut needs = Self::default();
        match input {
            Input::File { path, repeat } => {
                needs.read.push(path.into());
                needs.reopens = *repeat;
                needs.encode();
            }
            Input::V4l2 { device, .. } => {
                needs.devices.push(device.into());
                needs.encode();
            }
            Input::TestPicture { .. } => needs.encode(),
            Input::HttpMjpeg { url, .. } => {
                needs.connect(url, &[("http", 80), ("https", 443)]);
                needs.encode();
            }
            Input::Rtsp { url } => needs.connect(url, &[("rtsp", 554), ("rtsps", 322)]),
        }
        needs
    }

    /// Whether sockets are used at all.
    pub(crate) fn network(&self) -> bool {
        !self.ports.is_empty()
    }

    fn connect(&mut self, url: &str, defaults: &[(&str, u16)]) {
        self.read.extend(RESOLVER.map(PathBuf::from));
        self.ports.push(DNS);
        // An address that cannot be read here is refused by FFmpeg too; its default port does no harm.
        let url = Url::parse(url).ok();
        let scheme = url.as_ref().map_or("", Url::scheme);
        let usual = defaults
            .iter()
            .filter(|(name, _)| *name == scheme)
            .map(|(_, port)| *port);
        self.ports
            .extend(url.as_ref().and_then(Url::port).into_iter().chain(usual).next());
    }

    /// Encoders in hardware, where the machine has any.
    fn encode(&mut self) {
        let codecs = hardware::codec_nodes();
        if !codecs.is_empty() {
            self.list.push("/dev".into());
            self.devices.extend(codecs);
        }
        let renderers = hardware::render_nodes();
        if !renderers.is_empty() {
            self.devices.extend(renderers);
            self.list.push("/dev/dri".into());
            self.read.extend(DRIVERS.map(PathBuf::from));
            self.reopens = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_job_gets_its_camera_s_port_and_no_other() {
        let check = |url: &str, expected: &[u16]| {
            let needs = Needs::of(&Input::Rtsp { url: url.into() });
            assert_eq!(needs.ports, expected, "{url}");
            assert!(needs.network() && needs.devices.is_empty(), "{url}");
        };
        check("rtsp://camera/1", &[53, 554]);
        check("rtsp://u:p%40@camera:8554/1", &[53, 8554]);
        check("rtsp://[::1]:10554/1", &[53, 10554]);
        check("rtsps://camera/1", &[53, 322]);
        check("no address", &[53]);
    }

    #[test]
    fn a_file_s_job_gets_no_network() {
        let needs = Needs::of(&Input::File {
            path: "/a/b.mp4".into(),
            repeat: true,
        });
        assert!(!needs.network() && needs.reopens);
        assert_eq!(needs.read[0], PathBuf::from("/a/b.mp4"));
    }
}
