//! Whether an exported film shows exactly the source's frames: decoded by FFmpeg, compared by hash.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::run;

/// The hashes of a film's decoded frames, in order of display.
pub struct Frames(Vec<String>);

impl Frames {
    /// Decodes the video track of `path`.
    pub fn decode(path: &Path) -> Result<Self> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(path);
        // Pass-through: FFmpeg would otherwise drop and repeat frames to its own taste.
        ffmpeg.args(["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
        let text = run(&mut ffmpeg).with_context(|| format!("{} does not decode", path.display()))?;
        let hashes = text
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.rsplit(',').next());
        Ok(Self(hashes.map(|h| h.trim().to_owned()).collect()))
    }

    /// How many frames.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A stretch of the film that equals a stretch of the looped source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First frame in the film.
    pub film: usize,
    /// Its place in the source's loop.
    pub source: usize,
    /// Frames.
    pub frames: usize,
}

/// Cuts the film into the longest stretches that follow the source's loop; an unknown frame is an error.
pub fn runs(film: &Frames, source: &Frames) -> Result<Vec<Run>> {
    ensure!(!source.is_empty(), "the source has no frames");
    let mut runs = Vec::new();
    let mut at = 0;
    while at < film.len() {
        let starts = (0..source.len()).filter(|&s| source.0[s] == film.0[at]);
        let length = |s: usize| {
            film.0[at..]
                .iter()
                .zip(source.0[s..].iter().chain(source.0.iter().cycle()))
                .take_while(|(a, b)| a == b)
                .count()
        };
        let Some((source_at, frames)) = starts.map(|s| (s, length(s))).max_by_key(|&(_, n)| n) else {
            bail!("frame {at} of {} is no frame of the source", film.len());
        };
        runs.push(Run {
            film: at,
            source: source_at,
            frames,
        });
        at += frames;
    }
    Ok(runs)
}

/// Every frame bit for bit, none missing, none twice, wherever in the loop the film begins.
pub fn same_and_contiguous(film: &Frames, source: &Frames) -> Result<Run> {
    ensure!(!film.is_empty(), "the film has no frames");
    match runs(film, source)?.as_slice() {
        [one] => Ok(*one),
        many => bail!(
            "the film follows the source in {} stretches instead of one: {:?}",
            many.len(),
            &many[..many.len().min(6)]
        ),
    }
}

/// The kinds of all tracks, as FFmpeg names them (`video`, `audio`, …).
pub fn tracks(path: &Path) -> Result<Vec<String>> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe
        .args(["-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0"])
        .arg(path);
    Ok(run(&mut ffprobe)?
        .lines()
        .map(|l| l.trim().trim_end_matches(',').to_owned())
        .filter(|l| !l.is_empty())
        .collect())
}

/// Presentation times of all video packets in seconds, sorted.
pub fn times(path: &Path) -> Result<Vec<f64>> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(path);
    let mut times: Vec<f64> = run(&mut ffprobe)?
        .lines()
        .filter_map(|l| l.trim().trim_end_matches(',').parse().ok())
        .collect();
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Begin and end, in seconds, of each stretch without a pause longer than `pause`.
pub fn stretches(times: &[f64], pause: f64) -> Vec<(f64, f64)> {
    let mut stretches: Vec<(f64, f64)> = Vec::new();
    for &at in times {
        match stretches.last_mut() {
            Some(last) if at - last.1 <= pause => last.1 = at,
            _ => stretches.push((at, at)),
        }
    }
    stretches
}

/// The longest pause between two frames, in seconds.
pub fn longest_pause(times: &[f64]) -> f64 {
    times.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &str) -> Frames {
        Frames(text.chars().map(String::from).collect())
    }

    #[test]
    fn a_film_may_begin_anywhere_and_go_round() {
        let source = frames("abcdef");
        for film in ["abcdef", "def", "efabcdefab", "c"] {
            let run = same_and_contiguous(&frames(film), &source).expect(film);
            assert_eq!(run.frames, film.len(), "{film}");
        }
    }

    #[test]
    fn a_repeated_picture_does_not_mislead_the_search() {
        let run = same_and_contiguous(&frames("aab"), &frames("axaaab")).expect("the third a begins it");
        assert_eq!(run.source, 3);
    }

    #[test]
    fn flaws_are_found() {
        let source = frames("abcdef");
        for (flaw, film) in [
            ("missing", "abdef"),
            ("twice", "abbc"),
            ("swapped", "acb"),
            ("foreign", "abz"),
            ("empty", ""),
        ] {
            assert!(same_and_contiguous(&frames(film), &source).is_err(), "{flaw}");
        }
    }
}
