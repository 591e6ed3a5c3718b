//! Runs the examples of docs/reference/commands.md: what the page says is what happens, request for
//! request.

use std::collections::BTreeMap;

use tokio::io::AsyncWriteExt;

use test_support::ftp::{Ftp, read_to_end_deadline, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;
use test_support::transfers::{moved, settled};

const PAGE: &str = include_str!("../../docs/reference/commands.md");

/// One command of an example and all that must come of it.
#[derive(Debug, Default)]
struct Step {
    line: String,
    send: Option<Vec<u8>>,
    /// Whether the data connection is reset after what is sent, instead of closed.
    reset: bool,
    receive: Option<String>,
    replies: Vec<String>,
    requests: Vec<String>,
}

#[derive(Debug)]
enum Action {
    Mount(String),
    Given(String, Vec<u8>),
    Step(Step),
    Then(String, Vec<u8>),
    ThenNot(String),
}

/// The examples of the page, each with the number of its first line.
fn examples(page: &str) -> Vec<(usize, Vec<Action>)> {
    let mut found = Vec::new();
    let mut current: Option<(usize, Vec<Action>)> = None;
    for (number, line) in page.lines().enumerate() {
        match &mut current {
            None if line == "```example" => current = Some((number + 1, Vec::new())),
            None => {}
            Some(_) if line == "```" => found.extend(current.take()),
            Some((_, actions)) => parse(line, actions),
        }
    }
    assert!(current.is_none(), "an example without an end");
    found
}

fn parse(line: &str, actions: &mut Vec<Action>) {
    let content = |text: &str| {
        let (key, value) = text
            .split_once(" = ")
            .unwrap_or_else(|| panic!("no value: {line}"));
        (key.to_owned(), unquote(value))
    };
    if let Some(setting) = line.strip_prefix("mount ") {
        actions.push(Action::Mount(setting.to_owned()));
    } else if let Some(text) = line.strip_prefix("given ") {
        let (key, value) = content(text);
        actions.push(Action::Given(key, value));
    } else if let Some(key) = line.strip_prefix("then no ") {
        actions.push(Action::ThenNot(key.to_owned()));
    } else if let Some(text) = line.strip_prefix("then ") {
        let (key, value) = content(text);
        actions.push(Action::Then(key, value));
    } else if let Some(command) = line.strip_prefix("C: ") {
        actions.push(Action::Step(Step {
            line: command.to_owned(),
            ..Step::default()
        }));
    } else {
        let Some(Action::Step(step)) = actions.last_mut() else {
            panic!("no command before: {line}")
        };
        if let Some(reply) = line.strip_prefix("S: ") {
            step.replies.push(reply.to_owned());
        } else if let Some(request) = line.strip_prefix("S3: ") {
            step.requests.push(request.to_owned());
        } else if let Some(mebibytes) = line
            .strip_prefix("data> ")
            .and_then(|text| text.strip_suffix(" MiB"))
        {
            step.send = Some(pattern(mebibytes.parse::<usize>().unwrap() << 20, 7));
        } else if let Some(text) = line.strip_prefix("data> ") {
            step.send = Some(unquote(text));
        } else if let Some(text) = line.strip_prefix("data! ") {
            step.send = Some(unquote(text));
            step.reset = true;
        } else if let Some(text) = line.strip_prefix("data< ") {
            step.receive = Some(String::from_utf8(unquote(text)).unwrap());
        } else {
            panic!("not understood: {line}");
        }
    }
}

/// `"a\r\n"` → its bytes.
fn unquote(text: &str) -> Vec<u8> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or_else(|| panic!("not quoted: {text}"));
    inner.replace("\\r", "\r").replace("\\n", "\n").into_bytes()
}

/// Whether `text` is `pattern`; `*` stands for anything.
fn alike(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

async fn run(at: usize, actions: &[Action]) {
    let settings: String = actions
        .iter()
        .filter_map(|action| {
            if let Action::Mount(setting) = action {
                Some(format!("{setting}\n"))
            } else {
                None
            }
        })
        .collect();
    let gateway = Gateway::builder()
        .with(&format!("[mounts.main]\n{settings}"))
        .start()
        .await;
    for action in actions {
        if let Action::Given(key, value) = action {
            gateway.store.put_before(BUCKET, key, value);
        }
    }
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for action in actions {
        match action {
            Action::Mount(_) | Action::Given(..) => {}
            Action::Step(step) => perform(at, &gateway, &mut ftp, step).await,
            Action::Then(key, value) => {
                let found = gateway.store.object(BUCKET, key);
                assert_eq!(
                    found.as_deref(),
                    Some(value.as_slice()),
                    "example at line {at}: {key}"
                );
            }
            Action::ThenNot(key) => {
                assert!(
                    gateway.store.object(BUCKET, key).is_none(),
                    "example at line {at}: {key} is there"
                );
            }
        }
    }
    ftp.close().await;
    gateway.stop().await;
}

/// Records and tails have names that no test reads.
fn named(key: &str) -> &str {
    if key.starts_with(".s3ftpd/uploads/") {
        "(record)"
    } else if key.starts_with(".s3ftpd/tails/") {
        "(tail)"
    } else {
        key
    }
}

async fn perform(at: usize, gateway: &Gateway, ftp: &mut Ftp, step: &Step) {
    let context = format!("example at line {at}, {}", step.line);
    gateway.store.reset_counts();
    let verb = step.line.split(' ').next().unwrap();
    let moves_data = matches!(verb, "STOR" | "APPE" | "RETR" | "LIST" | "NLST" | "MLSD");
    let mut data = if moves_data {
        Some(ftp.data_passive().await)
    } else {
        None
    };
    ftp.send(&step.line).await;
    for expected in &step.replies {
        let reply = ftp.reply().await;
        let first = &reply.lines[0];
        assert!(
            first.starts_with(expected.as_str()),
            "{context}: {first:?}, expected {expected:?}"
        );
        if reply.code == 150 {
            let mut stream = data.take().unwrap();
            match (&step.send, &step.receive) {
                (Some(bytes), _) => {
                    stream.write_all(bytes).await.unwrap();
                    if step.reset {
                        moved(ftp, bytes.len()).await;
                        reset_stream(stream);
                    } else {
                        stream.shutdown().await.unwrap();
                    }
                }
                (None, Some(pattern)) => {
                    let (received, end) = read_to_end_deadline(&mut stream).await;
                    end.unwrap();
                    let received = String::from_utf8(received).unwrap();
                    assert!(
                        alike(pattern, &received),
                        "{context}: received {received:?}, expected {pattern:?}"
                    );
                }
                (None, None) => panic!("{context}: a transfer without data"),
            }
        }
    }
    drop(data);
    ftp.in_step().await;
    settled(gateway).await;
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &step.requests {
        *expected.entry(request).or_default() += 1;
    }
    let made: Vec<String> = gateway
        .store
        .requests()
        .into_iter()
        .map(|request| match request.operation.as_str() {
            "ListObjectsV2" => request.operation,
            _ => format!("{} {}", request.operation, named(&request.key)),
        })
        .collect();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &made {
        *counted.entry(request).or_default() += 1;
    }
    assert_eq!(counted, expected, "{context}: requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_semantics_page_hold() {
    let examples = examples(PAGE);
    assert!(examples.len() > 10, "the examples were not found");
    for (at, actions) in &examples {
        run(*at, actions).await;
    }
}

#[test]
fn stars_stand_for_anything() {
    assert!(alike("a*c", "abbc") && alike("a*", "a") && alike("abc", "abc") && alike("*b*", "abc"));
    assert!(!alike("a*c", "abd") && !alike("ab", "abc") && !alike("a*b*c", "acb"));
}
