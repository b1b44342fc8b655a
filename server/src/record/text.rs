//! Free text that people type: length, control characters, and never a resident registration number.

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("is empty; write a few words")]
    Empty,
    /// Longer than its limit, in characters.
    #[error("is longer than {0} characters; shorten it")]
    TooLong(usize),
    /// Control characters, which no form produces.
    #[error("holds control characters; type it again")]
    Control,
    /// It looks like a resident or foreigner registration number.
    #[error("holds what looks like a resident registration number; leave it out, it must not be stored")]
    ResidentNumber,
}

/// Trims and checks a text of at most `limit` characters.
///
/// # Errors
/// [`TextError`]; the text itself is in no message.
pub fn checked(text: &str, limit: usize) -> Result<String, TextError> {
    let text = optional(text, limit)?;
    if text.is_empty() {
        Err(TextError::Empty)
    } else {
        Ok(text)
    }
}

/// As [`checked`], with the empty text allowed.
///
/// # Errors
/// [`TextError`]; the text itself is in no message.
pub fn optional(text: &str, limit: usize) -> Result<String, TextError> {
    // One kind of line end and of space, whatever the browser sends: the text is compared, hashed and printed.
    let text = text.trim().replace("\r\n", "\n").replace('\r', "\n").replace('\t', " ");
    if text.chars().nth(limit).is_some() {
        return Err(TextError::TooLong(limit));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(TextError::Control);
    }
    if holds_resident_number(&text) {
        return Err(TextError::ResidentNumber);
    }
    Ok(text)
}

/// Whether a text holds six digits, a separator and seven digits beginning with 1 to 8, or thirteen digits
/// in a row whose first six are a date and whose seventh is 1 to 8. Full-width digits count as digits.
#[must_use]
pub fn holds_resident_number(text: &str) -> bool {
    // Runs of digits with what stands between each and the next.
    let mut runs: Vec<(Vec<u8>, String)> = Vec::new();
    let mut in_run = false;
    for c in text.chars() {
        if let Some(digit) = digit(c) {
            if !in_run {
                runs.push((Vec::new(), String::new()));
            }
            in_run = true;
            runs.last_mut().expect("a run was just opened").0.push(digit);
        } else {
            in_run = false;
            if let Some(run) = runs.last_mut() {
                // Zero-width characters hide a number from a search but not from a reader.
                if !matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}') {
                    run.1.push(c);
                } else if run.1.is_empty() {
                    in_run = true;
                }
            }
        }
    }
    let whole = runs
        .iter()
        .any(|(digits, _)| digits.len() == 13 && is_date(&digits[..6]) && is_century(digits[6]));
    let parted = runs.windows(2).any(|pair| {
        let ((head, between), (tail, _)) = (&pair[0], &pair[1]);
        head.len() == 6
            && tail.len() == 7
            && is_century(tail[0])
            && (is_dash(between) || (is_date(head) && !between.is_empty() && between.trim().is_empty()))
    });
    whole || parted
}

fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8 - b'0'),
        '\u{ff10}'..='\u{ff19}' => u8::try_from(c as u32 - 0xff10).ok(),
        _ => None,
    }
}

/// 1 to 4 are citizens born since 1900, 5 to 8 registered foreigners.
fn is_century(digit: u8) -> bool {
    (1..=8).contains(&digit)
}

fn is_dash(between: &str) -> bool {
    let mut marks = between.chars().filter(|c| !c.is_whitespace());
    let dash = |c: char| {
        matches!(
            c,
            '-' | '_' | '.' | '/' | '~' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}' | '\u{30fc}' | '\u{3161}'
        )
    };
    marks.next().is_some_and(dash) && marks.next().is_none()
}

fn is_date(digits: &[u8]) -> bool {
    let month = digits[2] * 10 + digits[3];
    let day = digits[4] * 10 + digits[5];
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_numbers_are_found_however_they_are_typed() {
        let cases = [
            "900101-1234567",
            "my number is 900101-2234567, please",
            "900101 - 3234567",
            "900101 4234567",
            "9001011234567",
            "(9912312234567)",
            "９００１０１－１２３４５６７",
            "900101–1234567",
            "999999-1234567",
            "900101-5234567",
            "900101\u{200b}1234567",
            "900101-\u{200b}1234567",
        ];
        for text in cases {
            assert!(holds_resident_number(text), "{text}");
        }
    }

    #[test]
    fn other_numbers_pass() {
        let cases = [
            "",
            "02-1234-5678",
            "010-1234-5678",
            "2026-11-22 17:30",
            "1764000000000",
            "4111111111111111",
            "900101-123456",
            "900101-12345678",
            "900101-9234567",
            "receipt 123456, desk 7",
            "9013011234567",
            "2026 seoul 123",
        ];
        for text in cases {
            assert!(!holds_resident_number(text), "{text}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        assert_eq!(checked("  lost bag ", 10).unwrap(), "lost bag");
        assert_eq!(checked("   ", 10), Err(TextError::Empty));
        assert_eq!(optional("   ", 10).unwrap(), "");
        assert_eq!(checked("a\r\nb\tc\rd", 10).unwrap(), "a\nb c\nd");
        assert_eq!(checked("가나다", 2), Err(TextError::TooLong(2)));
        assert_eq!(checked("a\u{0}b", 10), Err(TextError::Control));
        assert_eq!(checked("900101-1234567", 64), Err(TextError::ResidentNumber));
    }
}
