//! Whether something at an address speaks RTSP at all, asked before its answers reach a parser that would keep reading.
//!
//! A line without an end makes an RTSP parser collect and look again for as long as bytes come. So the first answer is read here,
//! no further than a status line can reach.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// Bytes in which the status line of the first answer must end.
const MAX_STATUS_LINE: usize = 1024;
/// The port of RTSP (RFC 2326).
const PORT: u16 = 554;

/// Asks for the options of `url`, which carries no credentials, on a connection of its own.
///
/// # Errors
/// No connection, or an answer that is not RTSP. A peer that closes without a word passes: its next answer is judged.
pub(super) async fn greet(url: &Url) -> io::Result<()> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let mut socket = TcpStream::connect((host, url.port().unwrap_or(PORT))).await?;
    let request = format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: custody\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = [0_u8; MAX_STATUS_LINE];
    let mut filled = 0;
    while filled < answer.len() {
        let count = socket.read(&mut answer[filled..]).await?;
        filled += count;
        if count == 0 || answer[..filled].contains(&b'\n') {
            break;
        }
    }
    if is_rtsp(&answer[..filled]) {
        Ok(())
    } else {
        Err(io::Error::other("it does not answer as an RTSP camera"))
    }
}

fn is_rtsp(answer: &[u8]) -> bool {
    answer.is_empty() || (answer.starts_with(b"RTSP/") && answer.contains(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_told_from_anything_else() {
        for (name, answer, expected) in [
            ("an answer", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n".as_slice(), true),
            ("a refusal", b"RTSP/1.0 401 Unauthorized\r\n", true),
            ("a close", b"", true),
            ("another protocol", b"HTTP/1.1 400 Bad Request\r\n", false),
            ("a line without an end", b"RTSP/1.0 200 aaaaaaaaaaaaaaaaaaaaa", false),
            ("noise", b"\xff\x00\x17", false),
        ] {
            assert_eq!(is_rtsp(answer), expected, "{name}");
        }
    }
}
