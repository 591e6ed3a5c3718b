//! The large object: the contestants that move it, and how they compare within a round.

use std::collections::BTreeMap;

use super::{Results, mib, table::Series, table::Table};
use crate::args::Wire;
use crate::process::Sample;

/// The contestants, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contestant {
    /// s3ftpd with an FTP client.
    Gateway(Wire),
    /// The SDK alone.
    Sdk,
    /// The relay.
    Relay(Wire),
}

/// One round of the large object.
pub type Round = BTreeMap<Contestant, Sample>;

impl Contestant {
    /// The contestants of this kind of connection.
    pub fn all(wires: &[Wire]) -> Vec<Contestant> {
        let gateways = wires.iter().copied().map(Contestant::Gateway);
        let relays = wires.iter().copied().map(Contestant::Relay);
        gateways.chain([Contestant::Sdk]).chain(relays).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Contestant::Gateway(Wire::Plain) => "s3ftpd",
            Contestant::Gateway(Wire::Tls) => "s3ftpd, TLS",
            Contestant::Sdk => "SDK alone",
            Contestant::Relay(Wire::Plain) => "relay",
            Contestant::Relay(Wire::Tls) => "relay, TLS",
        }
    }

    /// The same in plaintext, for a contestant under TLS.
    fn in_the_clear(self) -> Option<Contestant> {
        match self {
            Contestant::Gateway(Wire::Tls) => Some(Contestant::Gateway(Wire::Plain)),
            Contestant::Relay(Wire::Tls) => Some(Contestant::Relay(Wire::Plain)),
            _ => None,
        }
    }
}

/// Median over the rounds of the gateway's wall time to the SDK's in the same round.
pub fn wall_ratio(rounds: &[Round], wire: Wire) -> Option<f64> {
    let (gateway, sdk) = (Contestant::Gateway(wire), Contestant::Sdk);
    ratio(rounds, gateway, sdk, |sample| sample.wall)
}

/// Median over the rounds of the gateway's CPU time to that of the relay over the same wire in the
/// same round.
pub fn cpu_ratio(rounds: &[Round], wire: Wire) -> Option<f64> {
    let (gateway, relay) = (Contestant::Gateway(wire), Contestant::Relay(wire));
    ratio(rounds, gateway, relay, |sample| sample.cpu)
}

/// Median over the rounds of the ratio of two figures in the same round.
pub fn ratio(
    rounds: &[Round],
    of: Contestant,
    to: Contestant,
    figure: fn(&Sample) -> f64,
) -> Option<f64> {
    let ratios = rounds
        .iter()
        .filter_map(|round| Some(figure(round.get(&of)?) / figure(round.get(&to)?)));
    Series::of(ratios).median()
}

/// One contestant's figure over the rounds.
pub fn series(rounds: &[Round], of: Contestant, figure: fn(&Sample) -> f64) -> Series {
    Series::of(rounds.iter().filter_map(|round| round.get(&of)).map(figure))
}

/// All rounds with all stores. If TLS was measured, its ratios to plaintext have columns.
pub fn table(results: &Results) -> Table {
    let all = Contestant::all(&[Wire::Plain, Wire::Tls]);
    let moved = |by: Contestant| {
        let mut rounds = results.large.values().flatten();
        rounds.any(|round| round.contains_key(&by))
    };
    let compared = all
        .iter()
        .any(|by| moved(*by) && by.in_the_clear().is_some_and(moved));
    let mut header = vec![
        "large object",
        "store",
        "by",
        "wall s",
        "MiB/s",
        "CPU s",
        "peak MiB",
        "wall ÷ SDK",
        "CPU ÷ relay",
    ];
    if compared {
        header.extend(["wall ÷ plain", "CPU ÷ plain"]);
    }
    let mut table = Table::new(&header);
    for ((store, direction), rounds) in &results.large {
        for by in all.iter().copied().filter(|by| moved(*by)) {
            let show =
                |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let wall = series(rounds, by, |sample| sample.wall);
            let rate = wall.median().map_or_else(String::new, |seconds| {
                format!("{:.0}", mib(results.size >> 10) / seconds)
            });
            let (to_sdk, to_relay) = match by {
                Contestant::Gateway(wire) => (wall_ratio(rounds, wire), cpu_ratio(rounds, wire)),
                _ => (None, None),
            };
            let mut row = vec![
                format!("{} MiB {direction}", results.size >> 20),
                store.clone(),
                by.name().to_owned(),
                wall.show(2),
                rate,
                series(rounds, by, |sample| sample.cpu).show(2),
                series(rounds, by, |sample| mib(sample.peak)).show(0),
                show(to_sdk),
                show(to_relay),
            ];
            if compared {
                let to_plain = |figure| ratio(rounds, by, by.in_the_clear()?, figure);
                row.push(show(to_plain(|sample| sample.wall)));
                row.push(show(to_plain(|sample| sample.cpu)));
            }
            table.rows.push(row);
        }
    }
    table
}
