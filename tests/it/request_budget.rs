//! As few S3 requests as the work needs: the table of docs/design/promises.md, row by row. Every
//! request that reaches the store counts, also retries. slow_clients.rs has the cost of the pieces
//! of slow uploads under memory pressure.

mod changes;
mod lookups;

use std::collections::BTreeMap;

use Step::{Get, List, Say, Store as Put};

use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::store::Store;
use test_support::transfers::settled;
use test_support::{MIB, pattern};

/// The part size of these tests, bytes.
const PART: usize = 5 * MIB;
/// Their range size, bytes.
const RANGE: usize = MIB;

/// What a client does.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// A command, and the code of its reply.
    Say(&'a str, u16),
    /// STOR of this number of bytes.
    Store(&'a str, usize),
    /// RETR of an existing file.
    Get(&'a str),
    /// A listing of this number of lines.
    List(&'a str, usize),
}

/// A session whose requests are counted.
struct Session {
    gateway: Gateway,
    ftp: Ftp,
}

impl Session {
    async fn start() -> Session {
        Session::of(Gateway::builder()).await
    }

    async fn of(builder: Builder) -> Session {
        let gateway = builder
            .with("[transfer]\nrange_size = \"1MiB\"")
            .start()
            .await;
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        Session { gateway, ftp }
    }

    fn store(&self) -> &Store {
        &self.gateway.store
    }

    fn given(&self, key: &str, size: usize) {
        self.store().put(BUCKET, key, pattern(size, 3));
    }

    async fn perform(&mut self, step: Step<'_>) {
        let ftp = &mut self.ftp;
        match step {
            Say(line, code) => {
                ftp.expect(line, code).await;
            }
            Put(path, size) => {
                let reply = ftp.store(path, &pattern(size, 5)).await;
                assert_eq!(reply.code, 226, "{step:?}: {reply:?}");
            }
            Get(path) => {
                let (bytes, reply) = ftp.retrieve(path).await;
                assert_eq!(reply.code, 226, "{step:?}: {reply:?}");
                let key = path.trim_start_matches('/');
                assert_eq!(
                    Some(bytes),
                    self.gateway.store.object(BUCKET, key),
                    "{step:?}"
                );
            }
            List(line, lines) => {
                let (text, reply) = ftp.list(line).await;
                assert_eq!(reply.code, 226, "{step:?}: {reply:?}");
                assert_eq!(text.lines().count(), lines, "{step:?}");
            }
        }
    }

    /// Takes steps that must cost exactly these requests.
    async fn costs(&mut self, what: &str, steps: &[Step<'_>], expected: &[(&str, usize)]) {
        self.store().reset_counts();
        let begun = std::time::Instant::now();
        for step in steps {
            self.perform(*step).await;
        }
        // A slow upload asks for the record, and this machine may stop for a while.
        let slow = begun.elapsed() >= std::time::Duration::from_secs(1)
            && steps.iter().any(|step| matches!(step, Put(..)));
        self.ftp.in_step().await;
        // The 226 does not wait for the requests alongside an upload.
        settled(&self.gateway).await;
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for request in self.store().requests() {
            let of_record = request.key.starts_with(".s3ftpd/uploads/");
            if slow && of_record && request.operation == "GetObject" {
                continue;
            }
            *counted.entry(request.operation).or_default() += 1;
        }
        let expected: BTreeMap<String, usize> = expected
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(operation, count)| ((*operation).to_owned(), *count))
            .collect();
        assert_eq!(counted, expected, "{what}: {steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_need_no_store_make_no_request() {
    let builder = Gateway::builder()
        .add_mount("second", "second", "")
        .add_mount("closed", "closed", "")
        .with("[mounts.closed]\npermissions = [\"list\"]")
        .user(
            "u",
            "p",
            r#"{ "/" = "main", "/deep/second" = "second", "/closed" = "closed" }"#,
        );
    let mut session = Session::of(builder).await;
    session.given("deep/file", 1);
    for (line, code) in [
        ("PWD", 257),
        ("TYPE A", 200),
        ("TYPE I", 200),
        ("MODE S", 200),
        ("STRU F", 200),
        ("PASV", 227),
        ("EPSV", 229),
        ("NOOP", 200),
        ("SYST", 215),
        ("FEAT", 211),
        ("HELP", 214),
        ("STAT", 211),
        ("OPTS UTF8 ON", 200),
        ("OPTS MLST type;size;", 200),
        ("CLNT test", 200),
        ("SITE HELP", 214),
        ("REST 1", 350),
        ("ALLO 1000", 200),
        ("ABOR", 226),
        ("CWD /", 250),
        ("CDUP", 250),
        ("CWD /deep", 250),
        ("CWD /deep/second", 250),
        ("CWD /closed", 250),
        ("CDUP", 250),
        ("MLST /", 250),
        // Refused without a request.
        ("STOR /closed/x", 550),
        ("RETR /closed/x", 550),
        ("DELE /closed/x", 550),
        ("RNFR /closed/x", 550),
        ("MKD /closed/x", 550),
        ("RMD /closed/x", 550),
        ("APPE /closed/x", 550),
        ("RNTO x", 503),
        ("MFMT 20200102030405 deep/file", 550),
        ("MKD /deep/second", 550),
        ("RMD /deep/second", 550),
        ("DELE /deep/second", 550),
        ("RETR /.s3ftpd/x", 550),
        ("NOSUCH", 500),
    ] {
        session.costs("no store", &[Say(line, code)], &[]).await;
    }
    session.store().reset_counts();
    session.gateway.ftp().await;
    assert_eq!(session.store().operations(), [""; 0], "a login");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_cost_one_to_enter_and_two_to_make() {
    let mut session = Session::start().await;
    session.given("implicit/a", 1);
    session.given("d/e/f", 1);
    for (what, steps, expected) in [
        (
            "into an implicit one",
            &[Say("CWD /implicit", 250)][..],
            &[("ListObjectsV2", 1)][..],
        ),
        (
            "into none",
            &[Say("CWD /none", 550)],
            &[("ListObjectsV2", 1)],
        ),
        (
            "into a deep one",
            &[Say("CWD /d/e", 250)],
            &[("ListObjectsV2", 1)],
        ),
        (
            "up from there",
            &[Say("CDUP", 250)],
            &[("ListObjectsV2", 1)],
        ),
        ("up to the mount", &[Say("CDUP", 250)], &[]),
        (
            "a new one",
            &[Say("MKD /new", 257)],
            &[("ListObjectsV2", 1), ("PutObject", 1)],
        ),
        (
            "one that is there",
            &[Say("MKD /implicit", 550)],
            &[("ListObjectsV2", 1)],
        ),
        (
            "removing it",
            &[Say("RMD /new", 250)],
            &[("ListObjectsV2", 1), ("DeleteObject", 1)],
        ),
        (
            "one with something in it",
            &[Say("RMD /d", 550)],
            &[("ListObjectsV2", 1)],
        ),
    ] {
        session.costs(what, steps, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_up_to_a_part_is_one_put_and_of_n_parts_n_and_two() {
    let mut session = Session::start().await;
    for size in [0, 1, PART - 1, PART] {
        session
            .costs("one part", &[Put("f", size)], &[("PutObject", 1)])
            .await;
    }
    for (size, parts) in [(PART + 1, 2), (2 * PART, 2), (3 * PART + 17, 4)] {
        let expected = [
            ("CreateMultipartUpload", 1),
            ("UploadPart", parts),
            ("CompleteMultipartUpload", 1),
            // The record, and its removal.
            ("PutObject", 1),
            ("DeleteObject", 1),
        ];
        session
            .costs("many parts", &[Put("f", size)], &expected)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_one_get_per_range_and_no_head() {
    let mut session = Session::start().await;
    for (size, gets) in [
        (0, 1),
        (1, 1),
        (RANGE - 1, 1),
        (RANGE, 1),
        (RANGE + 1, 2),
        (3 * RANGE, 3),
        (5 * RANGE + 17, 6),
    ] {
        session.given("f", size);
        session
            .costs("RETR", &[Get("f")], &[("GetObject", gets)])
            .await;
    }
    session
        .costs(
            "nothing there",
            &[Say("EPSV", 229), Say("RETR none", 550)],
            &[("GetObject", 1)],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_download_costs_the_ranges_that_are_left() {
    let mut session = Session::start().await;
    let size = 3 * RANGE;
    session.given("f", size);
    for (offset, gets) in [(1, 3), (RANGE, 2), (2 * RANGE + 1, 1), (size - 1, 1)] {
        session.store().reset_counts();
        session.ftp.expect(&format!("REST {offset}"), 350).await;
        let (bytes, reply) = session.ftp.retrieve("f").await;
        assert_eq!((bytes.len(), reply.code), (size - offset, 226), "{offset}");
        assert_eq!(
            session.store().operations(),
            vec!["GetObject"; gets],
            "{offset}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_one_request_per_thousand_entries() {
    let mut session = Session::start().await;
    session
        .costs(
            "an empty mount",
            &[List("LIST", 0)],
            &[("ListObjectsV2", 1)],
        )
        .await;
    session.given("d0/", 0);
    for count in [1, 999, 1000, 1001, 2500] {
        for number in 0..count {
            session.given(&format!("d{count}/{number:05}"), 0);
        }
    }
    for (count, pages) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (2500, 3)] {
        for verb in ["LIST", "NLST", "MLSD", "LIST -la"] {
            let line = format!("{verb} d{count}");
            session
                .costs(
                    "a listing",
                    &[List(&line, count)],
                    &[("ListObjectsV2", pages)],
                )
                .await;
        }
    }
    let directory = [Say("CWD d2500", 250)];
    session
        .costs("going there", &directory, &[("ListObjectsV2", 1)])
        .await;
    session
        .costs(
            "the working directory",
            &[List("LIST", 2500)],
            &[("ListObjectsV2", 3)],
        )
        .await;
    // The literal prefix of a glob narrows the request.
    session
        .costs("a glob", &[List("NLST 0010*", 10)], &[("ListObjectsV2", 1)])
        .await;
}
