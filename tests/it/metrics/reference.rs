//! The reference page and a scrape have the same metrics, of the same types, with the same labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use s3ftpd::events::metrics::CallResult;
use s3ftpd::events::{Cause, Class, Event, EventSink, Kind, Level};

use test_support::ftp::{Ftp, Mode};
use test_support::tls::Pki;
use test_support::transfers::interrupt;
use test_support::{MIB, pattern};

use super::{Scrape, with_admin};

const PAGE: &str = include_str!("../../../docs/reference/metrics.md");

/// By name: the type and the labels.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

#[tokio::test]
async fn a_scrape_has_the_metrics_of_the_reference_page_and_no_others() {
    let pki = Pki::new();
    let gateway = with_admin()
        .with(&pki.section(""))
        .with("[metrics]\nlast_uploads = 1")
        .with("[events.hook]\nurl = \"http://127.0.0.1:1/\"")
        .start()
        .await;
    interrupt(&gateway, "STOR /big", &pattern(6 * MIB, 3)).await;
    let mut ftp = gateway.ftp().await;
    ftp.store("/a", b"bytes").await;
    ftp.retrieve("/a").await;
    ftp.list("LIST").await;
    let data = ftp.data(Mode::Passive).await;
    ftp.expect("RETR /missing", 550).await;
    drop(data);
    let fault = test_support::faults::Fault::Status(503, "SlowDown");
    gateway.store.fail("HeadObject").times(1).with(fault);
    ftp.expect("SIZE /missing", 550).await;
    Ftp::connect(gateway.address).await;
    // A look at the stores takes a minute.
    let mut event = Event::new(Kind::StoreUp, Level::Info);
    event.store = Some("main".into());
    gateway.server.metrics().take(&Arc::new(event));
    let scrape = Scrape::of(&gateway).await;
    let (page, scraped) = (of_the_page(), of_a_scrape(&scrape));
    assert_eq!(
        page.keys().collect::<Vec<_>>(),
        scraped.keys().collect::<Vec<_>>()
    );
    assert_eq!(page, scraped);
}

#[test]
fn the_reference_page_has_the_words_of_the_events() {
    let words = |label: &str| -> Vec<&str> {
        let row = PAGE.lines().find(|line| line.starts_with(label));
        let cell = row.unwrap().split('|').nth(2).unwrap();
        let words = cell.split(", ").map(|word| word.trim().trim_matches('`'));
        words.collect()
    };
    let classes = Class::ALL.iter().map(|class| class.name());
    assert_eq!(words("| `class` |"), classes.collect::<Vec<_>>());
    let causes = Cause::ALL.iter().map(|cause| cause.name());
    let results: Vec<_> = ["ok"].into_iter().chain(causes).collect();
    assert_eq!(words("| `result` of a login |"), results);
    let results = CallResult::ALL.map(CallResult::name);
    assert_eq!(words("| `result` of a hook's call |"), results);
}

/// The rows of the page's tables.
fn of_the_page() -> Metrics {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `s3ftpd_"));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let labels = cells[3]
            .split(',')
            .map(|name| name.trim().trim_matches('`'));
        let labels = labels.filter(|name| !name.is_empty()).map(str::to_owned);
        (name, (cells[2].to_owned(), labels.collect()))
    });
    let rows: Metrics = rows.collect();
    assert!(rows.len() > 30, "{rows:?}");
    rows
}

/// The families of a scrape, by the names that queries use.
fn of_a_scrape(scrape: &Scrape) -> Metrics {
    let families = scrape.types.iter().map(|(name, kind)| {
        let (name, sample) = match kind.as_str() {
            "counter" => (format!("{name}_total"), format!("{name}_total")),
            "histogram" => (name.clone(), format!("{name}_count")),
            "info" => (format!("{name}_info"), format!("{name}_info")),
            _ => (name.clone(), name.clone()),
        };
        let samples = &scrape
            .samples
            .get(&sample)
            .unwrap_or_else(|| panic!("{sample}"));
        let labels = samples
            .iter()
            .flat_map(|(labels, _)| labels.keys().cloned());
        (name, (kind.clone(), labels.collect()))
    });
    families.collect()
}
