//! `/metrics`: what happens is counted, and a scrape has exactly the metrics of the reference page.

mod flat;
mod hooks;
mod reference;
mod sessions;
mod stores;
mod transfers;

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use test_support::gateway::{Builder, Gateway};
use test_support::within;

/// A gateway with an admin port.
fn with_admin() -> Builder {
    Gateway::builder().with("[admin]\nlisten = \"127.0.0.1:0\"")
}

/// The labels and the value of one sample.
type Sample = (BTreeMap<String, String>, f64);

/// What a scrape has returned.
#[derive(Debug)]
struct Scrape {
    /// By name: the labels of each sample and its value.
    samples: BTreeMap<String, Vec<Sample>>,
    /// The types of the families by their names.
    types: BTreeMap<String, String>,
}

impl Scrape {
    async fn of(gateway: &Gateway) -> Scrape {
        let address = gateway.server.admin_address().unwrap();
        let mut answer = String::new();
        within("a scrape", async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
        })
        .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(head.contains(kind), "{head}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        Scrape::read(body)
    }

    /// Waits until a scrape fits.
    async fn until(gateway: &Gateway, what: &str, fits: impl Fn(&Scrape) -> bool) -> Scrape {
        within(what, async {
            loop {
                let scrape = Scrape::of(gateway).await;
                if fits(&scrape) {
                    return scrape;
                }
            }
        })
        .await
    }

    fn read(body: &str) -> Scrape {
        let mut samples: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let mut types = BTreeMap::new();
        for line in body.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                types.insert(name.to_owned(), kind.to_owned());
            }
            if line.starts_with('#') {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",");
            let labels = labels.filter(|label| !label.is_empty()).map(|label| {
                let (name, value) = label.split_once("=\"").unwrap();
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            });
            let sample = (labels.collect(), value.parse().unwrap());
            samples.entry(name.to_owned()).or_default().push(sample);
        }
        Scrape { samples, types }
    }

    /// The sum of the samples with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.samples.get(name).map_or(&[][..], Vec::as_slice);
        let fits = |has: &BTreeMap<String, String>| {
            let mut labels = labels.iter();
            labels.all(|(name, value)| has.get(*name).is_some_and(|is| is == value))
        };
        let fitting = samples.iter().filter(|(has, _)| fits(has));
        fitting.map(|(_, value)| value).sum()
    }

    /// Fails unless the sum of the samples with these labels is this.
    #[track_caller]
    fn is(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let found = self.sum(name, labels);
        let all = self.samples.get(name);
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}{labels:?} is {found}, not {expected}: {all:#?}"
        );
    }
}
