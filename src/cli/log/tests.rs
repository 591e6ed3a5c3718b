//! Lines in both forms, filters, and who decides.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use serde_json::Value as Json;
use tracing::subscriber::with_default;
use tracing_subscriber::registry;

use super::*;
use crate::events::options::TransferLogPlace;
use crate::events::{Class, Event, Kind, Level, SessionFacts, Totals};

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

fn given(filter: Option<&str>, format: Option<LogFormat>) -> LogArguments {
    LogArguments {
        filter: filter.map(|text| text.parse().unwrap()),
        format,
    }
}

/// Runs something with a log.
fn logging(given: &LogArguments, run: impl FnOnce(&Log, &Written)) {
    let written = Written::default();
    let writer = {
        let written = written.clone();
        move || written.clone()
    };
    let (log, layer) = Log::new(given, false, writer);
    with_default(registry().with(layer), || run(&log, &written));
}

fn send(event: Event) {
    LogSink.take(&Arc::new(event));
}

/// An event with all kinds of fields, whose texts are `text`.
fn full(level: Level, text: &str) -> Event {
    let mut event = Event::new(Kind::Transfer, level);
    event.session = Some(Arc::new(SessionFacts {
        session: "s1".into(),
        user: Some(text.into()),
        peer: ([192, 0, 2, 1], 5000).into(),
        client: Some(text.into()),
        tls: Some("TLS 1.3"),
        host: None,
    }));
    event.id = Some("t1".into());
    event.verb = Some("STOR");
    event.path = Some(text.into());
    event.key = Some(text.into());
    event.bytes = Some(u64::MAX);
    event.seconds = Some(0.004_200_4);
    event.code = Some(226);
    event.class = Some(Class::Ok);
    event.crc32 = Some(0xab);
    event.totals = Some(Totals::default());
    event
}

fn object(line: &str) -> serde_json::Map<String, Json> {
    assert_eq!(line.lines().count(), 1, "{line:?}");
    match serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")) {
        Json::Object(object) => object,
        other => panic!("{other}"),
    }
}

const HOSTILE: [&str; 9] = [
    "",
    "a b=c",
    "\"quoted\" \\ 'name'",
    "x\n{\"event\":\"login\"}",
    "\r\n2026-11-30T00:00:00Z ERROR forged",
    "\u{1b}[2J\u{7f}\u{9b}31m\0",
    "\u{202e}txt.exe\u{2028}\u{feff}",
    "ümläut 文件 🦀",
    ",\"code\":1,",
];

#[test]
fn a_line_of_json_has_the_fields_with_their_types() {
    logging(&given(None, Some(LogFormat::Json)), |_, written| {
        send(full(Level::Info, "/a.csv"));
        let line = object(&written.take());
        for (name, value) in [
            ("level", Json::from("INFO")),
            ("target", "s3ftpd::events".into()),
            ("event", "transfer".into()),
            ("session", "s1".into()),
            ("transfer", "t1".into()),
            ("peer", "192.0.2.1:5000".into()),
            ("path", "/a.csv".into()),
            ("bytes", u64::MAX.into()),
            ("seconds", 0.0042.into()),
            ("code", 226.into()),
            ("class", "ok".into()),
            ("crc32", "000000ab".into()),
            ("files_in", 0.into()),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        assert_eq!(line.get("host"), None);
        line["timestamp"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
        // The program's other lines have the same shape.
        tracing::info!(target: "s3ftpd::server", sessions = 3, "draining");
        let other = object(&written.take());
        assert_eq!(other["message"], "draining");
        assert_eq!(other["sessions"], 3);
        assert_eq!(other["level"], "INFO");
        assert!(other.contains_key("timestamp") && other.contains_key("target"));
    });
}

#[test]
fn a_line_of_text_has_the_same_fields() {
    logging(&given(None, None), |_, written| {
        send(full(Level::Warn, "/a b.csv"));
        let line = written.take();
        let (_, fields) = line.split_once(" WARN s3ftpd::events: ").unwrap();
        let expected = "transfer session=s1 transfer=t1 user=\"/a b.csv\" peer=192.0.2.1:5000 \
            client=\"/a b.csv\" tls=\"TLS 1.3\" verb=STOR path=\"/a b.csv\" key=\"/a b.csv\" \
            bytes=18446744073709551615 crc32=000000ab seconds=0.0042 code=226 class=ok \
            files_in=0 files_out=0 bytes_in=0 bytes_out=0\n";
        assert_eq!(fields, expected);
    });
}

#[test]
fn no_name_breaks_a_line_of_json_and_none_is_changed() {
    logging(&given(None, Some(LogFormat::Json)), |_, written| {
        for text in HOSTILE {
            send(full(Level::Info, text));
            let line = written.take();
            let shown = line.trim_end_matches('\n');
            let unsafe_ = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
            assert!(!shown.contains(unsafe_), "{line:?}");
            let line = object(&line);
            for name in ["user", "client", "path", "key"] {
                assert_eq!(line[name], text);
            }
            assert_eq!(line["event"], "transfer");
            assert_eq!(line["code"], 226);
        }
    });
}

#[test]
fn no_name_breaks_a_line_of_text() {
    logging(&given(None, None), |_, written| {
        for text in HOSTILE {
            send(full(Level::Info, text));
            let line = written.take();
            let shown = line.strip_suffix('\n').unwrap();
            let unsafe_ = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
            assert!(!shown.contains(unsafe_), "{line:?}");
            // A field that the name brings along is within quotes.
            assert_eq!(shown.matches(" class=").count(), 1, "{line}");
            assert!(!shown.contains(" b=c "), "{line}");
        }
    });
}

#[test]
fn a_line_below_the_level_is_not_built() {
    logging(
        &given(Some("info,s3ftpd::events=warn"), None),
        |_, written| {
            send(full(Level::Debug, "x"));
            send(full(Level::Info, "x"));
            assert_eq!(written.take(), "");
            send(full(Level::Error, "x"));
            assert!(written.take().contains("ERROR s3ftpd::events: transfer"));
            tracing::info!(target: "s3ftpd::server", "listening");
            assert!(written.take().contains("listening"));
        },
    );
}

#[test]
fn the_filter_can_be_changed_while_lines_come() {
    logging(&given(None, None), |log, written| {
        assert_eq!(log.filter(), "info");
        send(full(Level::Debug, "x"));
        assert_eq!(written.take(), "");
        log.set_filter("s3ftpd=debug,info").unwrap();
        assert_eq!(log.filter(), "s3ftpd=debug,info");
        send(full(Level::Debug, "x"));
        assert!(written.take().contains("DEBUG"));
        let error = log.set_filter("s3ftpd=loud").unwrap_err().to_string();
        assert!(
            error.contains("s3ftpd=loud") && error.contains("debug"),
            "{error}"
        );
        assert_eq!(log.filter(), "s3ftpd=debug,info");
        log.set_filter("off").unwrap();
        send(full(Level::Error, "x"));
        assert_eq!(written.take(), "");
    });
}

fn options(filter: &str, format: LogFormat) -> LogOptions {
    LogOptions {
        filter: filter.parse().unwrap(),
        format,
        xferlog: Some(TransferLogPlace::Stdout),
    }
}

#[test]
fn the_configuration_decides_what_the_command_line_leaves_open() {
    logging(&given(None, None), |log, written| {
        log.configure(&options("debug", LogFormat::Json));
        assert_eq!(log.filter(), "debug");
        send(full(Level::Debug, "x"));
        assert_eq!(object(&written.take())["level"], "DEBUG");
        // What an operator has set since stays, until the configuration says something else.
        log.set_filter("warn").unwrap();
        log.configure(&options("debug", LogFormat::Text));
        assert_eq!(log.filter(), "warn");
        send(full(Level::Warn, "x"));
        assert!(written.take().contains(" WARN s3ftpd::events: transfer"));
        log.configure(&options("error", LogFormat::Text));
        assert_eq!(log.filter(), "error");
    });
    let fixed = given(Some("warn"), Some(LogFormat::Text));
    logging(&fixed, |log, written| {
        log.configure(&options("debug", LogFormat::Json));
        assert_eq!(log.filter(), "warn");
        send(full(Level::Warn, "x"));
        assert!(written.take().contains(" WARN s3ftpd::events: transfer"));
    });
}

#[test]
fn spans_change_no_line() {
    for format in [LogFormat::Text, LogFormat::Json] {
        logging(&given(Some("trace"), Some(format)), |_, written| {
            let lines = |written: &Written| {
                send(full(Level::Info, "x"));
                tracing::info!(target: "s3ftpd::server", "listening");
                let text = written.take();
                let lines = text.lines().map(|line| {
                    let (_, after) = line.split_once("INFO").unwrap();
                    after.to_owned()
                });
                lines.collect::<Vec<_>>()
            };
            let without = lines(written);
            let span = tracing::debug_span!(target: "s3ftpd::trace", "STOR", path = "/x");
            assert!(span.is_disabled());
            let within = span.in_scope(|| lines(written));
            assert_eq!(without, within);
        });
    }
}

#[test]
fn a_library_s_long_text_is_cut_unless_it_is_for_debugging() {
    for format in [LogFormat::Text, LogFormat::Json] {
        logging(&given(Some("debug"), Some(format)), |_, written| {
            let page = format!("no credentials: {}", "Debug { x } ".repeat(200));
            tracing::warn!(target: "aws_config::meta", error = %page, "it failed");
            let line = written.take();
            assert!(
                line.chars().count() < 700 && line.contains("no credentials"),
                "{line}"
            );
            assert!(line.contains('…') && line.contains("it failed"), "{line}");
            if format == LogFormat::Json {
                assert_eq!(object(&line)["message"], "it failed");
            }
            tracing::debug!(target: "aws_config::meta", error = %page, "it failed");
            assert!(written.take().len() > page.len());
            tracing::warn!(target: "s3ftpd::server", error = %page, "it failed");
            assert!(written.take().len() > page.len());
        });
    }
}

#[test]
fn a_program_s_line_of_json_keeps_the_types_of_its_fields() {
    logging(&given(None, Some(LogFormat::Json)), |_, written| {
        tracing::info!(
            target: "s3ftpd::server", flag = true, minus = -1, large = u64::MAX, half = 0.5,
            none = f64::NAN, text = "a\"\n\u{9b}", shown = %"x y", debug = ?"z", "it \"works\""
        );
        let line = written.take();
        assert!(!line.contains('\u{9b}'), "{line:?}");
        let line = object(&line);
        for (name, value) in [
            ("flag", Json::from(true)),
            ("minus", (-1).into()),
            ("large", u64::MAX.into()),
            ("half", 0.5.into()),
            ("none", "NaN".into()),
            ("text", "a\"\n\u{9b}".into()),
            ("shown", "x y".into()),
            ("debug", "\"z\"".into()),
            ("message", "it \"works\"".into()),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
    });
}

#[test]
fn the_message_of_a_panic_is_written() {
    const NAME: &str = "a thread that panics";
    let written = Written::default();
    let writer = LogWriter::start(written.clone()).unwrap();
    let usual = std::panic::take_hook();
    // It stays: other tests may panic at the same time.
    std::panic::set_hook(Box::new(move |info| {
        match std::thread::current().name() == Some(NAME) {
            true => report_panic(&writer, info),
            false => usual(info),
        }
    }));
    let thread = std::thread::Builder::new().name(NAME.to_owned());
    let panicking = thread.spawn(|| panic!("the reason")).unwrap();
    assert!(panicking.join().is_err());
    let text = written.take();
    let first = format!("thread '{NAME}' panicked at src/cli/log/tests.rs:");
    assert!(
        text.starts_with(&first) && text.contains("\nthe reason\n"),
        "{text}"
    );
}

#[test]
fn a_program_s_line_of_text_quotes_what_is_not_one_word() {
    logging(&given(None, Some(LogFormat::Text)), |_, written| {
        tracing::info!(
            target: "s3ftpd::server", number = 1, text = "a b", plain = "a", address = %"[::1]:21",
            shown = %"it is gone others=0", lines = %"a\n\u{1b}b", quoted = %"\"a\" and \"b\"",
            open = %"\"a", none = %"", "it \"works\""
        );
        let line = written.take();
        let (_, line) = line.split_once("s3ftpd::server: ").unwrap();
        assert_eq!(
            line.trim_end(),
            "it \"works\" number=1 text=\"a b\" plain=\"a\" address=[::1]:21 \
             shown=\"it is gone others=0\" lines=\"a\\n\\u{1b}b\" \
             quoted=\"\\\"a\\\" and \\\"b\\\"\" open=\"\\\"a\" none=\"\""
        );
    });
}
