//! One table of answers, each split at every byte, and garbage that must neither panic nor hang.

use proptest::prelude::*;

use super::*;

struct Case {
    name: &'static str,
    to_head: bool,
    bytes: &'static [u8],
    /// Bytes after the answer.
    extra: usize,
    status: u16,
    keep_alive: bool,
    created: Option<u64>,
    /// The answer ends with the connection.
    to_end: bool,
}

const PLAIN: Case = Case {
    name: "counted",
    to_head: false,
    bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    extra: 0,
    status: 200,
    keep_alive: true,
    created: None,
    to_end: false,
};

const CASES: &[Case] = &[
    PLAIN,
    Case { name: "leftover", bytes: b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nokHTTP/1.1 2", extra: 10, ..PLAIN },
    Case {
        name: "no content with location",
        bytes: b"HTTP/1.1 204 No Content\r\nLocation: /get?id=42\r\n\r\n",
        status: 204,
        created: Some(42),
        ..PLAIN
    },
    Case { name: "not modified", bytes: b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", status: 304, ..PLAIN },
    Case { name: "head", to_head: true, bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", ..PLAIN },
    Case { name: "empty", bytes: b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", status: 503, ..PLAIN },
    Case {
        name: "interim answers",
        bytes: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
        status: 201,
        ..PLAIN
    },
    Case {
        name: "chunked with extension and trailer",
        bytes: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\nHTTP",
        extra: 4,
        ..PLAIN
    },
    Case {
        name: "chunked beats a length",
        bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        keep_alive: false,
        ..PLAIN
    },
    Case {
        name: "close",
        bytes: b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\nx",
        keep_alive: false,
        ..PLAIN
    },
    Case { name: "old", bytes: b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", keep_alive: false, ..PLAIN },
    Case {
        name: "old, kept alive",
        bytes: b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        ..PLAIN
    },
    Case { name: "to the end", bytes: b"HTTP/1.1 200 OK\r\n\r\nanything", keep_alive: false, to_end: true, ..PLAIN },
];

fn run(case: &Case, pieces: &[&[u8]]) {
    let mut parser = Parser::default();
    parser.reset(case.to_head);
    let total: usize = pieces.iter().map(|p| p.len()).sum();
    let mut seen = 0;
    let mut done = None;
    for piece in pieces {
        match parser.feed(piece).unwrap_or_else(|e| panic!("{}: {e}", case.name)) {
            Progress::More => seen += piece.len(),
            Progress::Done { used } => {
                done = Some(seen + used);
                break;
            }
        }
    }
    if case.to_end {
        assert_eq!(done, None, "{}", case.name);
        parser.end().expect("a body without a length ends with the connection");
    } else {
        assert_eq!(done, Some(total - case.extra), "{}", case.name);
    }
    let expected = Head { status: case.status, keep_alive: case.keep_alive, created: case.created, no_effect: false };
    assert_eq!(parser.head(), Some(expected), "{}", case.name);
}

#[test]
fn answers_split_at_every_byte_read_the_same() {
    for case in CASES {
        run(case, &[case.bytes]);
        for at in 0..=case.bytes.len() {
            run(case, &[&case.bytes[..at], &case.bytes[at..]]);
        }
        let single: Vec<&[u8]> = case.bytes.chunks(1).collect();
        run(case, &single);
    }
}

#[test]
fn an_answer_cut_anywhere_is_truncated() {
    for case in CASES.iter().filter(|c| !c.to_end) {
        for at in 0..case.bytes.len() - case.extra {
            let mut parser = Parser::default();
            parser.reset(case.to_head);
            assert_eq!(parser.feed(&case.bytes[..at]), Ok(Progress::More), "{} at {at}", case.name);
            assert_eq!(parser.end(), Err(ResponseError::Truncated), "{} at {at}", case.name);
        }
    }
}

#[test]
fn one_parser_reads_one_answer_after_another() {
    let mut parser = Parser::default();
    for case in CASES.iter().filter(|c| !c.to_end && c.extra == 0) {
        parser.reset(case.to_head);
        assert_eq!(parser.feed(case.bytes), Ok(Progress::Done { used: case.bytes.len() }), "{}", case.name);
        assert_eq!(parser.head().map(|h| h.status), Some(case.status), "{}", case.name);
    }
}

#[test]
fn broken_answers_are_errors() {
    let head = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
    let cases: Vec<(String, ResponseError)> = vec![
        ("SSH-2.0-OpenSSH\r\n".into(), ResponseError::NotHttp),
        ("HTTP/2.0 200 OK\r\n\r\n".into(), ResponseError::NotHttp),
        (head("Content-Length: -1"), ResponseError::BadLength),
        (head("Content-Length: 1\r\nContent-Length: 2"), ResponseError::BadLength),
        (head("Content-Length: 99999999999999999999"), ResponseError::BadLength),
        (head("Transfer-Encoding: chunked") + "xyz\r\n", ResponseError::BadChunk),
        (head("Transfer-Encoding: chunked") + "1\r\nabc", ResponseError::BadChunk),
        (head("Transfer-Encoding: chunked") + "ffffffffffffffffff\r\n", ResponseError::BadChunk),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n".into(), ResponseError::Interim),
        ("HTTP/1.1 100 Continue\r\n\r\n".repeat(20), ResponseError::Interim),
        (head(&format!("X: {}", "y".repeat(LONGEST_HEAD))), ResponseError::LongHead),
        (head(&"X: y\r\n".repeat(MOST_HEADERS + 1)), ResponseError::LongHead),
    ];
    for (text, error) in cases {
        assert_eq!(Parser::default().feed(text.as_bytes()), Err(error), "whole: {text:.60}");
        let mut parser = Parser::default();
        let result = text.as_bytes().chunks(7).find_map(|piece| parser.feed(piece).err());
        assert_eq!(result, Some(error), "in pieces: {text:.60}");
    }
}

#[test]
fn only_an_id_at_the_end_of_a_location_is_a_key() {
    for (location, key) in [
        ("/get?id=7", Some(7)),
        ("http://h/get?x=1&id=8", Some(8)),
        ("id=9", Some(9)),
        ("/get?uid=7", None),
        ("/get?id=7&x=1", None),
        ("/get?id=", None),
        ("/get?id=99999999999999999999", None),
        ("/get/7", None),
    ] {
        assert_eq!(created(location.as_bytes()), key, "{location}");
    }
}

/// Fragments that reach deep into the machine.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        Just(b"a;".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn garbage_neither_panics_nor_claims_more_than_it_was_given(
        pieces in proptest::collection::vec(fragment(), 0..24),
        to_head in any::<bool>(),
    ) {
        let mut parser = Parser::default();
        parser.reset(to_head);
        for piece in pieces {
            match parser.feed(&piece) {
                Ok(Progress::Done { used }) => {
                    prop_assert!(used <= piece.len());
                    prop_assert!(parser.head().is_some());
                    parser.reset(to_head);
                }
                Ok(Progress::More) => prop_assert!(parser.partial.len() <= LONGEST_HEAD),
                Err(_) => parser.reset(to_head),
            }
        }
    }
}
