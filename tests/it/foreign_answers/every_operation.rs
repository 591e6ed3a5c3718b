//! Each command × each request that it makes × each answer that is not the store's: a success reply
//! is always true, no source is deleted, no interrupted upload discarded, and no short listing or
//! file passes for a whole one.

use test_support::faults::{Answer, Fault};
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::transfers::{begin, moved, settled};
use test_support::{MIB, pattern};

/// Keeps the first half of the body, with a length that agrees.
const HALF: Fault = Fault::Edit(|_, body| body.truncate(body.len() / 2));
/// The body without its last byte.
const ALMOST: Fault = Fault::Edit(|_, body| body.truncate(body.len().saturating_sub(1)));

const OTHER_RESULT: Answer = Answer {
    status: 200,
    headers: &[("content-type", "application/xml")],
    body: "<?xml version=\"1.0\"?><ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>",
};

const CUT_ERROR: Answer = Answer {
    status: 404,
    headers: &[("content-type", "application/xml")],
    body: "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>The",
};

/// For commands that transfer little.
const ANSWERS: [Fault; 16] = [
    Fault::Foreign(Answer::page(200)),
    Fault::Foreign(Answer::page(301)),
    Fault::Foreign(Answer::page(400)),
    Fault::Foreign(Answer::page(403)),
    Fault::Foreign(Answer::page(404)),
    Fault::Foreign(Answer::page(502)),
    Fault::Foreign(Answer::empty(200)),
    Fault::Foreign(Answer::empty(202)),
    Fault::Foreign(Answer::empty(204)),
    Fault::Foreign(Answer::empty(404)),
    Fault::Foreign(OTHER_RESULT),
    Fault::Foreign(CUT_ERROR),
    Fault::ForeignAfter(Answer::page(404)),
    Fault::ForeignAfter(Answer::page(200)),
    HALF,
    ALMOST,
];

/// For commands that transfer much.
const FEW: [Fault; 6] = [
    Fault::Foreign(Answer::page(404)),
    Fault::Foreign(Answer::empty(200)),
    Fault::Foreign(OTHER_RESULT),
    Fault::ForeignAfter(Answer::page(404)),
    Fault::ForeignAfter(Answer::empty(200)),
    HALF,
];

/// A separate directory for each run of a command.
struct Run<'a> {
    gateway: &'a Gateway,
    ftp: &'a mut Ftp,
    directory: String,
}

impl Run<'_> {
    fn store(&self) -> &Store {
        &self.gateway.store
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    fn object(&self, name: &str) -> Option<Vec<u8>> {
        self.store().object(BUCKET, &self.key(name))
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.store().put(BUCKET, &self.key(name), bytes);
    }

    /// A command with one path; returns whether it succeeded.
    async fn command(&mut self, verb: &str, name: &str) -> bool {
        let line = format!("{verb} /{}", self.key(name));
        let reply = self.ftp.command(line.trim_end_matches('/')).await;
        assert!(
            (200..300).contains(&reply.code) || (400..600).contains(&reply.code),
            "{reply:?}"
        );
        reply.code < 300
    }

    /// The same for an existing file: it is never reported as missing.
    async fn of_existing(&mut self, verb: &str, name: &str) -> bool {
        let line = format!("{verb} /{}", self.key(name));
        let reply = self.ftp.command(line.trim_end_matches('/')).await;
        assert!(reply.code < 300 || reply.code < 500, "{line}: {reply:?}");
        reply.code < 300
    }

    async fn upload(&mut self, verb: &str, name: &str, bytes: &[u8]) -> bool {
        let command = format!("{verb} /{}", self.key(name));
        let reply = self.ftp.upload_with(&command, bytes, Mode::Passive).await;
        assert!(reply.code == 226 || reply.code >= 400, "{reply:?}");
        reply.code == 226
    }

    async fn rename(&mut self, from: &str, to: &str) -> bool {
        let line = format!("RNFR /{}", self.key(from));
        let reply = self.ftp.command(&line).await;
        assert!(reply.code == 350 || reply.code < 500, "{line}: {reply:?}");
        reply.code == 350 && self.command("RNTO", to).await
    }

    /// The bytes are at one of two names in any case; after a success at the second.
    fn at_either(&self, done: bool, from: &str, to: &str, bytes: &[u8]) {
        let is = |name| self.object(name).is_some_and(|found| found == bytes);
        assert!(is(to) || (!done && is(from)), "{done} {from} {to}");
    }
}

/// Runs a command with each of its requests replaced by each of the answers. `prepare` runs without
/// faults.
async fn each(
    configuration: &str,
    answers: &[Fault],
    prepare: impl AsyncFn(&mut Run<'_>),
    act: impl AsyncFn(&mut Run<'_>) -> bool,
    check: impl AsyncFn(&mut Run<'_>, bool),
) {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 1\nrequest_timeout = \"2s\"")
        .with(configuration)
        .start()
        .await;
    gateway.store.identify();
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let mut number = 0;
    let mut requests = usize::MAX;
    // Two rounds without a fault: the gateway learns what the store can do, and the requests are
    // counted.
    for round in 0_usize.. {
        let nth = round.saturating_sub(1);
        if nth > requests {
            break;
        }
        for answer in answers {
            number += 1;
            let mut run = Run {
                gateway: &gateway,
                ftp: &mut ftp,
                directory: format!("d{number}"),
            };
            run.put("there", b"another file");
            prepare(&mut run).await;
            settled(&gateway).await;
            run.store().reset_counts();
            let rule = (nth > 0).then(|| {
                let rule = run.store().fail("*").nth(nth);
                rule.with(answer.clone())
            });
            let done = act(&mut run).await;
            if let Some(rule) = &rule {
                rule.remove();
            }
            let log = run.store().operations();
            settled(&gateway).await;
            let checked = std::panic::AssertUnwindSafe(check(&mut run, done));
            if futures::FutureExt::catch_unwind(checked).await.is_err() {
                panic!(
                    "{answer:?} in place of answer {nth} of {log:?}\n{}",
                    run.ftp.transcript()
                );
            }
            if nth == 0 {
                assert!(done, "{}", run.ftp.transcript());
                requests = log.len();
                break;
            }
        }
    }
    ftp.close().await;
}

const NOTHING: &str = "";
const LARGE: &str = "[transfer]\npart_size = \"5MiB\"\nrange_size = \"2MiB\"";

#[tokio::test]
async fn stor_of_a_small_file() {
    let bytes = pattern(1000, 1);
    each(
        NOTHING,
        &ANSWERS,
        async |_| {},
        async |run| run.upload("STOR", "x", &bytes).await,
        async |run, done| {
            let found = run.object("x");
            assert!(found == Some(bytes.clone()) || (!done && found.is_none()));
        },
    )
    .await;
}

#[tokio::test]
async fn stor_and_appe_over_a_file() {
    for verb in ["STOR", "APPE"] {
        let bytes = pattern(1000, 1);
        each(
            NOTHING,
            &ANSWERS,
            async |run| run.put("x", b"old"),
            async |run| run.upload(verb, "x", &bytes).await,
            async |run, done| {
                let old = if verb == "APPE" { &b"old"[..] } else { &[] };
                let new = [old, &bytes].concat();
                let found = run.object("x").unwrap();
                assert!(found == new || (!done && found == b"old"), "{verb}");
            },
        )
        .await;
    }
}

#[tokio::test]
async fn stor_of_a_large_file() {
    let bytes = pattern(11 * MIB, 1);
    each(
        LARGE,
        &FEW,
        async |_| {},
        async |run| run.upload("STOR", "x", &bytes).await,
        async |run, done| {
            let found = run.object("x");
            assert!(done || found.is_none() || found.as_ref() == Some(&bytes));
            assert!(!done || found.unwrap() == bytes);
        },
    )
    .await;
}

#[tokio::test]
async fn an_interrupted_upload() {
    let bytes = pattern(11 * MIB, 1);
    let sent = 10 * MIB + 1000;
    each(
        LARGE,
        &FEW,
        async |run| {
            let mut other = run.gateway.ftp().await;
            let command = format!("STOR /{}", run.key("x"));
            let mut data = begin(&mut other, &command, Mode::Passive).await;
            tokio::io::AsyncWriteExt::write_all(&mut data, &bytes[..sent])
                .await
                .unwrap();
            moved(&mut other, sent).await;
            reset_stream(data);
            other.expect_reply(426).await;
            other.close().await;
        },
        async |run| {
            let line = format!("SIZE /{}", run.key("x"));
            let size = run.ftp.command(&line).await;
            assert!(size.code == 213 || size.code < 500, "{size:?}");
            if size.code != 213 {
                return false;
            }
            // Without the 226 the last byte of an upload is not reported.
            assert_eq!(size.text(), (sent - 1).to_string());
            run.ftp.expect(&format!("REST {sent}"), 350).await;
            run.upload("STOR", "x", &bytes[sent..]).await
        },
        async |run, done| {
            if run.object("x").is_none() {
                assert!(!done);
                let line = format!("SIZE /{}", run.key("x"));
                let size = run.ftp.expect(&line, 213).await;
                let from: usize = size.text().parse().unwrap();
                assert!(from + 1 >= sent, "{from}");
                run.ftp.expect(&format!("REST {from}"), 350).await;
                assert!(run.upload("STOR", "x", &bytes[from..]).await);
            }
            assert!(run.object("x").unwrap() == bytes);
        },
    )
    .await;
}

#[tokio::test]
async fn retr() {
    for (size, answers) in [(0, &ANSWERS[..]), (1000, &ANSWERS), (5 * MIB, &FEW)] {
        let bytes = pattern(size, 1);
        each(
            LARGE,
            answers,
            async |run| run.put("x", &bytes),
            async |run| {
                let command = format!("RETR /{}", run.key("x"));
                let (got, reply) = run.ftp.download_with(&command, Mode::Passive).await;
                assert!(reply.code == 226 || reply.code < 500, "{reply:?}");
                assert!(reply.code != 226 || got == bytes, "{} of {size}", got.len());
                assert!(bytes.starts_with(&got));
                reply.code == 226
            },
            async |_, _| {},
        )
        .await;
    }
}

#[tokio::test]
async fn listings() {
    for verb in ["LIST", "NLST", "MLSD"] {
        each(
            NOTHING,
            &ANSWERS,
            async |run| {
                for number in 0..20 {
                    run.put(&format!("file{number:02}"), b"x");
                }
            },
            async |run| {
                let command = format!("{verb} /{}", run.directory);
                let (text, reply) = run.ftp.list(&command).await;
                let whole = (0..20).all(|number| text.contains(&format!("file{number:02}")));
                assert!(reply.code == 226 || reply.code < 500, "{reply:?}");
                assert!(reply.code != 226 || whole, "{text}");
                reply.code == 226
            },
            async |_, _| {},
        )
        .await;
    }
}

#[tokio::test]
async fn size_mdtm_and_mlst() {
    for verb in ["SIZE", "MDTM", "MLST", "XCRC"] {
        each(
            NOTHING,
            &ANSWERS,
            async |run| run.put("x", b"content"),
            async |run| run.of_existing(verb, "x").await,
            async |_, _| {},
        )
        .await;
    }
    each(
        NOTHING,
        &ANSWERS,
        async |_| {},
        async |run| run.of_existing("CWD", "").await,
        async |run, _| {
            run.ftp.expect("CWD /", 250).await;
        },
    )
    .await;
}

#[tokio::test]
async fn dele() {
    for alone in [false, true] {
        each(
            NOTHING,
            &ANSWERS,
            async |run| {
                run.put("sub/x", b"content");
                if !alone {
                    run.put("sub/y", b"content");
                }
            },
            async |run| run.of_existing("DELE", "sub/x").await,
            async |run, done| {
                assert!(!done || run.object("sub/x").is_none());
                let below = format!("{}/", run.key("sub"));
                let keys = run.store().keys(BUCKET);
                assert!(keys.iter().any(|key| key.starts_with(&below)), "{keys:?}");
            },
        )
        .await;
    }
}

#[tokio::test]
async fn renames() {
    let large = pattern(6 * MIB, 1);
    let copies_by_parts = "[stores.main]\ncopy_limit = \"5MiB\"";
    for (configuration, answers, bytes) in [
        (NOTHING, &ANSWERS[..], &b"content"[..]),
        (copies_by_parts, &FEW, &large),
    ] {
        each(
            configuration,
            answers,
            async |run| run.put("a", bytes),
            async |run| run.rename("a", "b").await,
            async |run, done| run.at_either(done, "a", "b", bytes),
        )
        .await;
    }
}

#[tokio::test]
async fn renames_of_directories() {
    each(
        NOTHING,
        &FEW,
        async |run| {
            for name in ["a/1", "a/2", "a/s/3"] {
                run.put(name, name.as_bytes());
            }
        },
        async |run| run.rename("a", "b").await,
        async |run, done| {
            for name in ["1", "2", "s/3"] {
                let (from, to) = (format!("a/{name}"), format!("b/{name}"));
                run.at_either(done, &from, &to, from.as_bytes());
            }
        },
    )
    .await;
}

#[tokio::test]
async fn directories() {
    each(
        NOTHING,
        &ANSWERS,
        async |_| {},
        async |run| run.command("MKD", "new").await,
        async |run, done| assert!(!done || run.object("new/").is_some()),
    )
    .await;
    each(
        NOTHING,
        &ANSWERS,
        async |run| run.put("empty/", b""),
        async |run| run.of_existing("RMD", "empty").await,
        async |run, done| assert!(!done || run.object("empty/").is_none()),
    )
    .await;
    // A directory that is not empty.
    each(
        NOTHING,
        &ANSWERS,
        async |run| {
            run.put("full/", b"");
            run.put("full/x", b"content");
        },
        async |run| !run.command("RMD", "full").await,
        async |run, refused| assert!(refused && run.object("full/x").is_some()),
    )
    .await;
}

#[tokio::test]
async fn mfmt() {
    each(
        "[mounts.main]\ntimes = \"metadata\"",
        &ANSWERS,
        async |run| run.put("x", b"content"),
        async |run| {
            let line = format!("MFMT 20200101000000 /{}", run.key("x"));
            let reply = run.ftp.command(&line).await;
            assert!(reply.code == 213 || reply.code < 500, "{reply:?}");
            reply.code == 213
        },
        async |run, done| {
            assert_eq!(run.object("x").as_deref(), Some(&b"content"[..]));
            let metadata = run.store().metadata(BUCKET, &run.key("x")).unwrap();
            assert!(!done || metadata.contains_key("mtime"));
        },
    )
    .await;
}
