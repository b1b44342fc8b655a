//! A `.zip` written front to back: stored entries whose size and CRC are known before, zip64 where needed.
//!
//! PKWARE APPNOTE 6.3.10. Stored, because video does not compress; sizes in the local headers rather than in data
//! descriptors, because some unpackers refuse stored entries with descriptors. Pure: bytes out, no file, no socket.

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path inside the archive, `/` between folders, no leading one; at most 200 bytes.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// CRC-32 (IEEE) of the content.
    pub crc32: u32,
}

/// A date and time as DOS writes it: local, two-second steps, 1980–2107.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DosTime {
    date: u16,
    time: u16,
}

impl DosTime {
    /// From civil fields; years outside 1980–2107 are brought to the nearest.
    pub fn new(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Self {
        let year = year.clamp(1980, 2107) - 1980;
        Self {
            date: year << 9 | u16::from(month) << 5 | u16::from(day),
            time: u16::from(hour) << 11 | u16::from(minute) << 5 | u16::from(second / 2),
        }
    }
}

const LIMIT: u64 = 0xffff_ffff;

/// Headers and directory of an archive whose contents the caller streams between them.
#[derive(Debug)]
pub struct Zip {
    time: DosTime,
    offset: u64,
    directory: Vec<(Entry, u64)>,
}

impl Zip {
    /// An empty archive; every entry carries `time`.
    pub fn new(time: DosTime) -> Self {
        Self {
            time,
            offset: 0,
            directory: Vec::new(),
        }
    }

    /// The header that goes before the entry's `size` bytes.
    pub fn begin(&mut self, entry: Entry) -> Vec<u8> {
        let large = entry.size >= LIMIT;
        let mut out = Vec::with_capacity(64 + entry.name.len());
        out.extend(0x0403_4b50_u32.to_le_bytes());
        self.common(&mut out, &entry, large, if large { 20 } else { 0 });
        out.extend(entry.name.as_bytes());
        if large {
            out.extend(1_u16.to_le_bytes());
            out.extend(16_u16.to_le_bytes());
            out.extend(entry.size.to_le_bytes());
            out.extend(entry.size.to_le_bytes());
        }
        let at = self.offset;
        self.offset += out.len() as u64 + entry.size;
        self.directory.push((entry, at));
        out
    }

    /// The directory that ends the archive.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        for (entry, at) in &self.directory {
            let mut extra = Vec::new();
            if entry.size >= LIMIT {
                extra.extend(entry.size.to_le_bytes());
                extra.extend(entry.size.to_le_bytes());
            }
            if *at >= LIMIT {
                extra.extend(at.to_le_bytes());
            }
            let extra_len = if extra.is_empty() { 0 } else { extra.len() + 4 };
            out.extend(0x0201_4b50_u32.to_le_bytes());
            // Made by 4.5 on Unix, so that the permissions below count.
            out.extend((3_u16 << 8 | 45).to_le_bytes());
            self.common(&mut out, entry, !extra.is_empty(), extra_len as u16);
            out.extend([0; 6]); // comment length, disk, internal attributes
            out.extend((0o100_644_u32 << 16).to_le_bytes());
            out.extend((*at).min(LIMIT).to_le_bytes()[..4].iter());
            out.extend(entry.name.as_bytes());
            if !extra.is_empty() {
                out.extend(1_u16.to_le_bytes());
                out.extend((extra.len() as u16).to_le_bytes());
                out.extend(extra);
            }
        }
        let (count, size, at) = (self.directory.len() as u64, out.len() as u64, self.offset);
        if count >= 0xffff || size >= LIMIT || at >= LIMIT {
            let end = at + size;
            out.extend(0x0606_4b50_u32.to_le_bytes());
            out.extend(44_u64.to_le_bytes());
            out.extend((3_u16 << 8 | 45).to_le_bytes());
            out.extend(45_u16.to_le_bytes());
            out.extend([0; 8]);
            for value in [count, count, size, at] {
                out.extend(value.to_le_bytes());
            }
            out.extend(0x0706_4b50_u32.to_le_bytes());
            out.extend([0; 4]);
            out.extend(end.to_le_bytes());
            out.extend(1_u32.to_le_bytes());
        }
        out.extend(0x0605_4b50_u32.to_le_bytes());
        out.extend([0; 4]);
        out.extend((count.min(0xffff) as u16).to_le_bytes());
        out.extend((count.min(0xffff) as u16).to_le_bytes());
        out.extend((size.min(LIMIT) as u32).to_le_bytes());
        out.extend((at.min(LIMIT) as u32).to_le_bytes());
        out.extend([0; 2]);
        out
    }

    /// Bytes of the whole archive with these entries.
    pub fn total_len(entries: &[Entry]) -> u64 {
        let mut zip = Self::new(DosTime::new(1980, 1, 1, 0, 0, 0));
        for entry in entries {
            zip.begin(entry.clone());
        }
        let before = zip.offset;
        before + zip.finish().len() as u64
    }

    /// The fields that local and central headers share, from "version needed" to the length of the extra field.
    fn common(&self, out: &mut Vec<u8>, entry: &Entry, large: bool, extra_len: u16) {
        out.extend(if large { 45_u16 } else { 20 }.to_le_bytes());
        out.extend(0x0800_u16.to_le_bytes()); // the name is UTF-8
        out.extend(0_u16.to_le_bytes()); // stored
        out.extend(self.time.time.to_le_bytes());
        out.extend(self.time.date.to_le_bytes());
        out.extend(entry.crc32.to_le_bytes());
        let size = entry.size.min(LIMIT) as u32;
        out.extend(size.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend((entry.name.len() as u16).to_le_bytes());
        out.extend(extra_len.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries: Vec<Entry> = files
            .iter()
            .map(|(name, content)| Entry {
                name: (*name).into(),
                size: content.len() as u64,
                crc32: crc32fast::hash(content),
            })
            .collect();
        let mut zip = Zip::new(DosTime::new(2026, 11, 22, 17, 30, 8));
        let mut out = Vec::new();
        for (entry, (_, content)) in entries.iter().zip(files) {
            out.extend(zip.begin(entry.clone()));
            out.extend(content);
        }
        out.extend(zip.finish());
        assert_eq!(out.len() as u64, Zip::total_len(&entries));
        out
    }

    #[test]
    fn another_reader_unpacks_it() {
        let files = [
            ("START.html", b"<p>hello".to_vec()),
            ("정문/video.mp4", vec![7; 100_000]),
            ("empty", Vec::new()),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.zip");
        std::fs::write(&path, archive(&files)).unwrap();
        let script = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                      for i in z.infolist(): print(i.filename, i.file_size, i.date_time)";
        let output = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "START.html 8 (2026, 11, 22, 17, 30, 8)\n정문/video.mp4 100000 (2026, 11, 22, 17, 30, 8)\nempty 0 (2026, 11, 22, 17, 30, 8)\n"
        );
    }

    #[test]
    fn sizes_beyond_four_gigabytes_go_into_the_zip64_fields() {
        for (size, at_least) in [(0xffff_fffe_u64, 0), (0xffff_ffff, 20), (6 << 30, 20)] {
            let mut zip = Zip::new(DosTime::new(2026, 1, 1, 0, 0, 0));
            let header = zip.begin(Entry {
                name: "a".into(),
                size,
                crc32: 1,
            });
            assert_eq!(header.len(), 31 + at_least, "{size}");
            zip.begin(Entry {
                name: "b".into(),
                size: 3,
                crc32: 2,
            });
            let end = zip.finish();
            assert!(
                end.windows(4).any(|four| four == 0x0606_4b50_u32.to_le_bytes()),
                "{size}: the directory lies beyond"
            );
        }
    }
}
