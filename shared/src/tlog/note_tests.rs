use super::*;

// Keys, text and signatures of Go's golang.org/x/mod/sumdb/note tests, byte for byte.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_LINE: &str =
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE: &str =
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

#[test]
fn gos_signature_is_made_and_accepted_byte_for_byte() {
    let signer = NoteSigner::parse(PETER_PRIVATE).unwrap();
    let mut note = Note::new(TEXT.to_owned()).unwrap();
    note.sign(&signer);
    assert_eq!(note.to_string(), format!("{TEXT}\n{PETER_LINE}"));
    assert_eq!(signer.verifier().to_string(), PETER);
    assert_eq!(*signer.to_private_text(), PETER_PRIVATE);
    assert_eq!(signer.verifier(), NoteVerifier::parse(PETER).unwrap());
}

#[test]
fn each_signer_is_checked_by_its_own_key() {
    let note = Note::parse(&format!("{TEXT}\n{PETER_LINE}{ENOCH_LINE}")).unwrap();
    assert_eq!(note.text(), TEXT);
    assert_eq!(note.verify(&NoteVerifier::parse(PETER).unwrap()), Ok(()));
    assert_eq!(note.verify(&NoteVerifier::parse(ENOCH).unwrap()), Ok(()));
    let peter_only = Note::parse(&format!("{TEXT}\n{PETER_LINE}")).unwrap();
    let enoch = NoteVerifier::parse(ENOCH).unwrap();
    assert_eq!(peter_only.verify(&enoch), Err(NoteError::NotSigned("EnochRoot".into())));
    let changed = Note::parse(&format!(
        "{}\n{PETER_LINE}",
        TEXT.replace("cryptography", "steganography")
    ))
    .unwrap();
    let peter = NoteVerifier::parse(PETER).unwrap();
    assert_eq!(
        changed.verify(&peter),
        Err(NoteError::BadSignature("PeterNeumann".into()))
    );
}

#[test]
fn the_poem_of_the_specification_parses_with_its_empty_line() {
    let note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let parsed = Note::parse(note).unwrap();
    assert!(parsed.text().ends_with("sole:\n\ned è subito sera.\n"));
    assert_eq!(parsed.signatures()[0].name, "quasimodo.example/salvatore");
    assert_eq!(hex::encode(parsed.signatures()[0].key_id), "367ba04b");
    assert_eq!(parsed.to_string(), note);
}

#[test]
fn malformed_notes_are_refused() {
    let many = format!("{TEXT}\n{}", PETER_LINE.repeat(MAX_SIGNATURES + 1));
    let long = format!("{}\n\n{PETER_LINE}", "x".repeat(MAX_NOTE_BYTES));
    for (bytes, flaw) in [
        (TEXT.to_owned(), "no signature"),
        (format!("{TEXT}\n"), "no signature after the blank line"),
        (
            format!("{TEXT}\n{}", &PETER_LINE[..PETER_LINE.len() - 1]),
            "no final newline",
        ),
        (format!("\x01{TEXT}\n{PETER_LINE}"), "control character"),
        (
            format!("{TEXT}\n{PETER_LINE}Unexpected line.\n"),
            "line after the signatures",
        ),
        (
            format!("{TEXT}\n— Bad Name {}", PETER_LINE.rsplit(' ').next().unwrap()),
            "space in the name",
        ),
        (format!("{TEXT}\n— PeterNeumann x08go\n"), "torn base64"),
        (format!("{TEXT}\n— PeterNeumann x08gow==\n"), "key id without signature"),
        (many, "too many signatures"),
        (long, "too long"),
    ] {
        assert_eq!(Note::parse(&bytes), Err(NoteError::Malformed), "{flaw}");
    }
    let bent = format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "Peter+Neumann"));
    assert_eq!(Note::parse(&bent), Err(NoteError::Malformed), "plus in the name");
}

#[test]
fn mangled_keys_are_refused() {
    // The same manglings as Go's test: every proper substring, every byte one higher.
    let check = |text: &str, private: bool| {
        let refused = if private {
            NoteSigner::parse(text).is_err()
        } else {
            NoteVerifier::parse(text).is_err()
        };
        assert!(refused, "{text:?} was accepted");
    };
    for (key, private) in [(PETER, false), (PETER_PRIVATE, true)] {
        for start in 0..=key.len() {
            for end in start..=key.len() {
                if (start, end) != (0, key.len()) {
                    check(&key[start..end], private);
                }
            }
        }
        for at in 0..key.len() {
            let mut bytes = key.as_bytes().to_vec();
            bytes[at] += 1;
            check(std::str::from_utf8(&bytes).unwrap(), private);
        }
    }
    check(
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        false,
    );
    check(
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        false,
    );
}
