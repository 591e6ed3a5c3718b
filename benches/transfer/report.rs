//! Samples → medians → tables, and the comparison with the goals.

mod large;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use crate::args::{Role, Wire};
use crate::process::Sample;
use crate::sdk::Direction;
use crate::slow::{BUDGET, Delays, Slow};

pub use large::{Contestant, Round};
use large::{cpu_ratio, series, wall_ratio};
pub use table::Series;
use table::Table;

/// The object's size that the goals are for, bytes.
const GOAL_SIZE: u64 = 512 << 20;
/// A listing's memory is flat if its peak grows by at most this over its last nine tenths, MiB.
const FLAT: f64 = 4.0;

/// One listing of a million keys.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// What the gateway used.
    pub sample: Sample,
    /// Growth of its peak after the first tenth, KiB.
    pub growth: u64,
}

/// One measurement of idle sessions.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Resident memory that each session adds, KiB.
    pub kib_each: f64,
}

/// All samples of a run.
#[derive(Debug)]
pub struct Results {
    size: u64,
    large: BTreeMap<(String, Direction), Vec<Round>>,
    small: BTreeMap<(String, Direction, Wire), Vec<f64>>,
    list: Vec<Listing>,
    idle: BTreeMap<Wire, Vec<Idle>>,
    slow: Vec<Slow>,
}

impl Results {
    /// No samples yet; large objects have `size` bytes.
    pub fn new(size: u64) -> Self {
        Results {
            size,
            large: BTreeMap::new(),
            small: BTreeMap::new(),
            list: Vec::new(),
            idle: BTreeMap::new(),
            slow: Vec::new(),
        }
    }

    /// Adds a round of the large object at a store.
    pub fn large(&mut self, store: &str, direction: Direction, round: Round) {
        let key = (store.to_owned(), direction);
        self.large.entry(key).or_default().push(round);
    }

    /// Adds a session of small files at a store, milliseconds a file.
    pub fn small(&mut self, store: &str, direction: Direction, wire: Wire, each: f64) {
        let key = (store.to_owned(), direction, wire);
        self.small.entry(key).or_default().push(each);
    }

    /// Adds a listing.
    pub fn list(&mut self, listing: Listing) {
        self.list.push(listing);
    }

    /// Adds a measurement of idle sessions.
    pub fn idle(&mut self, wire: Wire, idle: Idle) {
        self.idle.entry(wire).or_default().push(idle);
    }

    /// Adds a run alongside slow uploads.
    pub fn slow(&mut self, slow: Slow) {
        self.slow.push(slow);
    }

    /// The tables, as Markdown or as plain columns.
    pub fn report(&self, markdown: bool) -> String {
        let mut text = format!("{}\n\n", machine());
        for table in [large::table(self), self.other_table(), self.goals_table()] {
            if !table.rows.is_empty() {
                let _ = writeln!(text, "{}", table.render(markdown));
            }
        }
        text
    }

    fn other_table(&self) -> Table {
        let mut table = Table::new(&["other work", "store", "measured"]);
        let mut row = |work: &str, store: &str, measured: String| {
            table
                .rows
                .push(vec![work.to_owned(), store.to_owned(), measured]);
        };
        for ((store, direction, wire), sessions) in &self.small {
            let series = Series::of(sessions.iter().copied());
            row(
                &match wire {
                    Wire::Plain => format!("file of 4 KiB {direction}, ms"),
                    Wire::Tls => format!("file of 4 KiB {direction}, TLS, ms"),
                },
                store,
                series.show(1),
            );
        }
        let list = |of: fn(&Listing) -> f64| Series::of(self.list.iter().map(of));
        if !self.list.is_empty() {
            let store = Role::Null.name();
            row(
                "a million keys listed, s",
                store,
                list(|listing| listing.sample.wall).show(2),
            );
            row(
                "the same, CPU s",
                store,
                list(|listing| listing.sample.cpu).show(2),
            );
            row(
                "the same, peak MiB",
                store,
                list(|listing| mib(listing.sample.peak)).show(0),
            );
        }
        for (wire, looks) in &self.idle {
            let series = Series::of(looks.iter().map(|idle| idle.kib_each));
            let work = match wire {
                Wire::Plain => "idle session, KiB",
                Wire::Tls => "idle session, TLS, KiB",
            };
            row(work, "", series.show(1));
        }
        for slow in &self.slow {
            let (clients, rate) = (slow.clients, slow.rate / 1000);
            for (verb, of) in SLOW {
                let ms = |delays: &Delays| {
                    let series = Series::of(of(delays).iter().copied());
                    let at = |part| series.quantile(part).unwrap_or_default();
                    format!("{:.1}, {:.1}", at(0.5), at(0.99))
                };
                row(
                    &format!(
                        "20 kB {verb} next to {clients} uploads at {rate} kB/s (alone), ms: median, 99 %"
                    ),
                    Role::NullSlow.name(),
                    format!("{} ({})", ms(&slow.next_to), ms(&slow.alone)),
                );
            }
            row(
                "all of these uploads, s; peak MiB of the gateway",
                Role::NullSlow.name(),
                format!("{:.0}; {:.0}", slow.wall, mib(slow.peak)),
            );
        }
        table
    }

    fn goals_table(&self) -> Table {
        let mut table = Table::new(&["work", "goal", "measured", ""]);
        for goal in self.goals() {
            table.rows.push(vec![
                goal.work,
                format!("≤ {} {}", goal.limit, goal.unit)
                    .trim_end()
                    .to_owned(),
                format!("{:.2} {}", goal.measured, goal.unit)
                    .trim_end()
                    .to_owned(),
                if goal.measured <= goal.limit {
                    "met"
                } else {
                    "not met"
                }
                .to_owned(),
            ]);
        }
        table
    }

    /// The goals that have a measurement; TLS has none.
    pub fn goals(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        let mut goal = |work: String, limit: f64, unit: &'static str, measured: Option<f64>| {
            goals.extend(measured.map(|measured| Goal {
                work,
                limit,
                unit,
                measured,
            }));
        };
        let slow = Role::NullSlow.name();
        let judged = self.large.iter().filter(|_| self.size == GOAL_SIZE);
        for ((store, direction), rounds) in judged.clone() {
            let work = format!("512 MiB {direction}, {store}");
            let is_up = *direction == Direction::Up;
            // On the null store both wait for the shared CPU, which has no meaning for a real
            // store.
            if is_up && store != Role::Null.name() {
                goal(
                    format!("{work}: wall"),
                    1.05,
                    "× SDK",
                    wall_ratio(rounds, Wire::Plain),
                );
            }
            goal(
                format!("{work}: CPU"),
                if is_up { 1.5 } else { 1.25 },
                "× relay",
                cpu_ratio(rounds, Wire::Plain),
            );
            if store == slow {
                let wall = series(rounds, GATEWAY, |sample| sample.wall);
                goal(
                    format!("{work}: wall"),
                    if is_up { 1.3 } else { 1.1 },
                    "s",
                    wall.median(),
                );
            }
        }
        let small = self.small.iter();
        for ((store, direction, _), sessions) in
            small.filter(|((store, _, wire), _)| store == slow && *wire == Wire::Plain)
        {
            let median = Series::of(sessions.iter().copied()).median();
            goal(
                format!("files of 4 KiB {direction}, {store}"),
                24.0,
                "ms a file",
                median,
            );
        }
        let list = |of: fn(&Listing) -> f64| Series::of(self.list.iter().map(of)).median();
        goal(
            "a million keys listed".to_owned(),
            7.0,
            "s",
            list(|listing| listing.sample.wall),
        );
        goal(
            "a million keys: memory flat after 100,000".to_owned(),
            FLAT,
            "MiB more",
            list(|listing| mib(listing.growth)),
        );
        let peaks = judged
            .filter_map(|(_, rounds)| series(rounds, GATEWAY, |sample| mib(sample.peak)).median());
        goal(
            "peak memory in one large transfer".to_owned(),
            96.0,
            "MiB",
            peaks.reduce(f64::max),
        );
        let looks = self.idle.get(&Wire::Plain).into_iter().flatten();
        let idle = Series::of(looks.map(|idle| idle.kib_each)).median();
        goal("idle plaintext session".to_owned(), 24.0, "KiB", idle);
        for (verb, of) in SLOW {
            for part in [0.5, 0.99] {
                let ratios = self.slow.iter().filter_map(|slow| {
                    let at = |delays| Series::of(of(delays).iter().copied()).quantile(part);
                    Some(at(&slow.next_to)? / at(&slow.alone)?)
                });
                goal(
                    format!("20 kB {verb} next to slow uploads, {:.0} %", part * 100.0),
                    1.5,
                    "× alone",
                    Series::of(ratios).median(),
                );
            }
        }
        goal(
            "peak memory next to slow uploads".to_owned(),
            (BUDGET + 64) as f64,
            "MiB",
            Series::of(self.slow.iter().map(|slow| mib(slow.peak))).median(),
        );
        goals
    }
}

/// The contestant of the goals.
const GATEWAY: Contestant = Contestant::Gateway(Wire::Plain);

/// The figures of one direction.
type Figures = fn(&Delays) -> &Vec<f64>;

/// What is measured alongside slow uploads.
const SLOW: [(&str, Figures); 2] = [
    ("stored", |delays| &delays.store),
    ("fetched", |delays| &delays.fetch),
];

/// One goal and its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The subject.
    pub work: String,
    /// The upper limit.
    pub limit: f64,
    /// The unit.
    pub unit: &'static str,
    /// The median.
    pub measured: f64,
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The machine.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown CPU", |(_, model)| model.trim());
    format!(
        "Medians over the rounds (minimum in brackets); {cores} × {model}, shared by gateway, store and client."
    )
}
