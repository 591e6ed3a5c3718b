//! Property tests of whole sessions: each line gets exactly one final reply, whatever is sent and
//! in whatever segments.

use ftp_proto::Command;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;

use crate::in_memory::conversation::{self, check};
use crate::in_memory::{CUT, InMemoryGateway, LOGIN, StrictReply};

/// A runtime, and a gateway on it.
fn stage() -> (Runtime, InMemoryGateway) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let gateway = runtime.block_on(InMemoryGateway::start());
    (runtime, gateway)
}

/// Paths that exist, that don't, and that try to get out.
fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec![
            "a.csv", "dir", "dir/b.txt", "/", "/in", "in/x", "new", "new/deep", "..", "../alice-archive/secret",
            "/../../bob/secret", "dir/226 x/c", "forged", ".s3ftpd", "/.s3ftpd/x", "*", "dir/*.txt", "%2e%2e/", "-la",
        ]).prop_map(str::to_owned),
        1 => "\\PC{1,12}",
        1 => "[./a-c]{1,20}",
    ]
}

/// Commands that are likely to be valid.
fn command() -> impl Strategy<Value = String> {
    let plain = select(vec![
        "PWD",
        "CDUP",
        "SYST",
        "FEAT",
        "NOOP",
        "STAT",
        "PASV",
        "EPSV",
        "EPSV ALL",
        "HELP",
        "TYPE I",
        "TYPE A",
        "MODE S",
        "STRU F",
        "STRU R",
        "REST 3",
        "RANG 0 1",
        "ALLO 5",
        "LIST",
        "NLST -R",
        "MLSD",
        "STOU",
        "OPTS HASH MD5",
        "SITE HELP",
        "OPTS MLST size;type;",
        "OPTS UTF8 ON",
        "CLNT x",
        "PORT 10,0,0,1,200,1",
        "EPRT |1|10.0.0.1|50000|",
        "ACCT",
        "PORT 127,0,0,1,0,21",
        "REIN",
        "USER alice",
        "PASS p",
        "USER bob",
        "PASS no",
        "XPWD",
        "AUTH NONE",
        "HOST x",
    ])
    .prop_map(str::to_owned);
    let verbs: Vec<&str> = Command::verbs().filter(|verb| *verb != "QUIT").collect();
    let with_path = (select(verbs), path()).prop_map(|(verb, path)| format!("{verb} {path}"));
    prop_oneof![2 => plain, 3 => with_path]
}

/// A line with its end: a command, in any case, with Telnet sequences in it; or random bytes.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let end = select(vec![&b"\r\n"[..], b"\n"]);
    let telnet = select(vec![
        &b""[..],
        b"",
        b"\xff\xf1",
        b"\xff\xfb\x01",
        b"\xff\xfd\xff",
        b"\xff\xf4\xff\xf2",
        b"\xff\xf4\xf2",
        b"\xff\xfa\x18\x00x\ny\xff\xf0",
    ]);
    let command = (command(), any::<bool>(), telnet, 0_usize..6, end.clone());
    let command = command.prop_map(|(text, small, telnet, at, end)| {
        let text = if small { text.to_lowercase() } else { text };
        let (before, after) = text.as_bytes().split_at(at.min(text.len()));
        [before, telnet, after, end].concat()
    });
    let rubbish = (proptest::collection::vec(any::<u8>(), 0..40), end)
        .prop_map(|(bytes, end)| [&bytes[..], end].concat());
    prop_oneof![8 => command, 1 => rubbish]
}

/// Lines, some of them followed by one whose reply names it, cut into segments that are independent
/// of the lines.
fn input(line: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let lines = proptest::collection::vec((line, any::<bool>()), 0..24);
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..8);
    (lines, cuts).prop_map(|(lines, cuts)| {
        let mut bytes = Vec::new();
        for (number, (line, marked)) in lines.into_iter().enumerate() {
            bytes.extend(line);
            if marked {
                let marker = conversation::marker(number);
                bytes.extend(format!("HELP {marker}\r\n").into_bytes());
            }
        }
        for cut in cuts {
            let at = cut.index(bytes.len() + 1);
            bytes.insert(at, CUT);
        }
        bytes
    })
}

/// Runs the property; `before` is sent first.
fn each_line_gets_one_reply(before: &[u8], line: impl Strategy<Value = Vec<u8>>) {
    let (runtime, gateway) = stage();
    let config = ProptestConfig {
        cases: 400,
        ..ProptestConfig::default()
    };
    proptest!(config, |(input in input(line))| {
        runtime.block_on(async {
            gateway.check(&[before, &input].concat()).await;
            gateway.reset().await;
        });
    });
}

#[test]
fn each_line_before_login_gets_one_reply() {
    each_line_gets_one_reply(b"", line());
}

#[test]
fn each_line_of_a_user_gets_one_reply() {
    each_line_gets_one_reply(LOGIN, line());
}

#[test]
fn each_line_gets_one_reply_if_transfers_are_aborted_and_quit() {
    let transfer = select(vec![
        "PASV\r\nLIST\r\n",
        "EPSV\r\nRETR a.csv\r\n",
        "EPSV\r\nSTOR x\r\n",
        "ABOR\r\n",
        "ABOR\r\n",
        "NOOP\r\n",
        "STAT\r\n",
        "QUIT\r\n",
        "PWD\r\n",
        "GET / HTTP/1.1\r\n",
        "PASV\r\nHASH a.csv\r\n",
        "\u{ff}\u{f4}ABOR\r\n",
    ]);
    let transfer = transfer.prop_map(|text| text.chars().map(|c| c as u8).collect::<Vec<u8>>());
    each_line_gets_one_reply(LOGIN, prop_oneof![3 => transfer, 1 => line()]);
}

/// The whole path to a store and back, with known commands: the property would also hold if all
/// were refused.
#[test]
fn a_conversation_reaches_the_store() {
    let (runtime, gateway) = stage();
    let input = b"CWD dir\r\nSIZE b.txt\r\nMLST ../a.csv\r\nMKD /new\r\nRNFR b.txt\r\nRNTO /new/b\r\nSIZE /new/b\r\n\
        DELE /new/b\r\nCWD /../../alice-archive\r\nSIZE /in\r\nDELE /in/x\r\nSTAT /\r\nHASH /a.csv\r\nPASV\r\nRETR /a.csv\r\n\
        PORT 10,0,0,0,200,1\r\nRETR /a.csv\r\n";
    let (sent, received) = runtime.block_on(gateway.converse(&[LOGIN, input].concat()));
    check(&sent, &received).unwrap();
    let codes: Vec<u16> = StrictReply::parse_all(&received)
        .unwrap()
        .iter()
        .map(|reply| reply.code)
        .collect();
    assert_eq!(
        codes,
        [
            220, 331, 230, 250, 213, 250, 257, 350, 250, 213, 250, 550, 550, 550, 212, 213, 227,
            425, 200, 425, 500, 221
        ],
        "{}",
        String::from_utf8_lossy(&received)
    );
}

/// A line that is cut off anywhere still ends at the end of the conversation.
#[test]
fn each_way_to_end_a_session_is_known() {
    let (runtime, gateway) = stage();
    let long = [&b"NOOP\r\n"[..], &vec![b'x'; 5000], b"\r\nNOOP\r\n"].concat();
    for input in [
        &b""[..],
        b"\xff",
        b"\xff\xfa",
        b"\xff\xfa\xff",
        b"\xff\xfb",
        b"USER",
        b"QUIT\r\nNOOP\r\n",
        b"GET / HTTP/1.1\r\nUSER alice\r\n",
        b"USER x\r\nPASS x\r\nUSER y\r\nPASS y\r\nUSER z\r\nPASS z\r\nNOOP\r\n",
        // After the verb of a browser nothing counts, even if a transfer could be aborted.
        b"USER alice\r\nPASS p\r\nPASV\r\nLIST\r\nGET / HTTP/1.1\r\nABOR\r\nPWD\r\n",
        &long,
    ] {
        runtime.block_on(gateway.check(input));
    }
}
