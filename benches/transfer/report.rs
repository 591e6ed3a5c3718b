//! Samples → medians → tables, and the comparison with the goals.

mod table;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use crate::args::Role;
use crate::process::Sample;
use crate::sdk::Direction;

pub use table::Series;
use table::Table;

/// The object's size that the goals are for, bytes.
const GOAL_SIZE: u64 = 512 << 20;
/// A listing's memory is flat if its peak grows by no more than this over its last nine tenths, MiB.
const FLAT: f64 = 4.0;

/// One round of the large object.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trio {
    /// s3ftpd with curl.
    pub gateway: Option<Sample>,
    /// The SDK alone.
    pub sdk: Option<Sample>,
    /// The relay.
    pub relay: Option<Sample>,
}

/// One listing of a million keys.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// What the gateway needed.
    pub sample: Sample,
    /// By how much its peak grew after the first tenth, KiB.
    pub growth: u64,
}

/// One look at idle sessions.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Resident memory that each session added, KiB.
    pub kib_each: f64,
}

/// All samples of a run.
#[derive(Debug)]
pub struct Results {
    size: u64,
    large: BTreeMap<(String, Direction), Vec<Trio>>,
    small: BTreeMap<(String, Direction), Vec<f64>>,
    list: Vec<Listing>,
    idle: Vec<Idle>,
}

impl Results {
    /// None yet, of objects of `size` bytes.
    pub fn new(size: u64) -> Self {
        Results {
            size,
            large: BTreeMap::new(),
            small: BTreeMap::new(),
            list: Vec::new(),
            idle: Vec::new(),
        }
    }

    /// Adds a round of the large object at a store.
    pub fn large(&mut self, store: &str, direction: Direction, trio: Trio) {
        let key = (store.to_owned(), direction);
        self.large.entry(key).or_default().push(trio);
    }

    /// Adds a session of small files at a store, milliseconds a file.
    pub fn small(&mut self, store: &str, direction: Direction, each: f64) {
        let key = (store.to_owned(), direction);
        self.small.entry(key).or_default().push(each);
    }

    /// Adds a listing.
    pub fn list(&mut self, listing: Listing) {
        self.list.push(listing);
    }

    /// Adds a look at idle sessions.
    pub fn idle(&mut self, idle: Idle) {
        self.idle.push(idle);
    }

    /// The tables, as Markdown or as plain columns.
    pub fn report(&self, markdown: bool) -> String {
        let mut text = format!("{}\n\n", machine());
        for table in [self.large_table(), self.other_table(), self.goals_table()] {
            if !table.rows.is_empty() {
                let _ = writeln!(text, "{}", table.render(markdown));
            }
        }
        text
    }

    fn large_table(&self) -> Table {
        let mut table = Table::new(&[
            "large object",
            "store",
            "by",
            "wall s",
            "CPU s",
            "peak MiB",
            "wall ÷ SDK",
            "CPU ÷ relay",
        ]);
        for ((store, direction), rounds) in &self.large {
            for (name, of) in CONTESTANTS {
                let samples = || rounds.iter().filter_map(of);
                let ratio = |ratio: Option<f64>| {
                    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
                };
                let is_gateway = name == CONTESTANTS[0].0;
                table.rows.push(vec![
                    format!("{} {direction}", megabytes(self.size)),
                    store.clone(),
                    name.to_owned(),
                    Series::of(samples().map(|sample| sample.wall)).show(2),
                    Series::of(samples().map(|sample| sample.cpu)).show(2),
                    Series::of(samples().map(|sample| mib(sample.peak))).show(0),
                    ratio(wall_ratio(rounds).filter(|_| is_gateway)),
                    ratio(cpu_ratio(rounds).filter(|_| is_gateway)),
                ]);
            }
        }
        table
    }

    fn other_table(&self) -> Table {
        let mut table = Table::new(&["other work", "store", "measured"]);
        let mut row = |work: &str, store: &str, measured: String| {
            table
                .rows
                .push(vec![work.to_owned(), store.to_owned(), measured]);
        };
        for ((store, direction), sessions) in &self.small {
            let series = Series::of(sessions.iter().copied());
            row(
                &format!("file of 4 KiB {direction}, ms"),
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
        if !self.idle.is_empty() {
            let series = Series::of(self.idle.iter().map(|idle| idle.kib_each));
            row("idle session, KiB", "", series.show(1));
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

    /// The goals that something was measured for.
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
            // On the null store both wait for the CPU that they share, which tells nothing of a real one.
            if is_up && store != Role::Null.name() {
                goal(format!("{work}: wall"), 1.05, "× SDK", wall_ratio(rounds));
            }
            goal(
                format!("{work}: CPU"),
                if is_up { 1.5 } else { 1.25 },
                "× relay",
                cpu_ratio(rounds),
            );
            if store == slow {
                let wall = Series::of(
                    rounds
                        .iter()
                        .filter_map(|trio| trio.gateway)
                        .map(|sample| sample.wall),
                );
                goal(
                    format!("{work}: wall"),
                    if is_up { 1.3 } else { 1.1 },
                    "s",
                    wall.median(),
                );
            }
        }
        for ((store, direction), sessions) in
            self.small.iter().filter(|((store, _), _)| store == slow)
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
        let peaks = judged.filter_map(|(_, rounds)| {
            let gateway = rounds.iter().filter_map(|trio| trio.gateway);
            Series::of(gateway.map(|sample| mib(sample.peak))).median()
        });
        goal(
            "peak memory in one large transfer".to_owned(),
            96.0,
            "MiB",
            peaks.reduce(f64::max),
        );
        let idle = Series::of(self.idle.iter().map(|idle| idle.kib_each)).median();
        goal("idle plaintext session".to_owned(), 24.0, "KiB", idle);
        goals
    }
}

/// A contestant's name in the report, and its sample of a round.
type Contestant = (&'static str, fn(&Trio) -> Option<Sample>);

/// In the order of the report; the first is the one that the goals are about.
const CONTESTANTS: [Contestant; 3] = [
    ("s3ftpd", |trio| trio.gateway),
    ("SDK alone", |trio| trio.sdk),
    ("relay", |trio| trio.relay),
];

/// One goal, and how far it was reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// What for.
    pub work: String,
    /// The most that it may be.
    pub limit: f64,
    /// Of what.
    pub unit: &'static str,
    /// The median.
    pub measured: f64,
}

/// Median over the rounds of the gateway's wall time to the SDK's in the same round.
fn wall_ratio(rounds: &[Trio]) -> Option<f64> {
    let ratios = rounds
        .iter()
        .filter_map(|trio| Some(trio.gateway?.wall / trio.sdk?.wall));
    Series::of(ratios).median()
}

/// Median over the rounds of the gateway's CPU time to the relay's in the same round.
fn cpu_ratio(rounds: &[Trio]) -> Option<f64> {
    let ratios = rounds
        .iter()
        .filter_map(|trio| Some(trio.gateway?.cpu / trio.relay?.cpu));
    Series::of(ratios).median()
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn megabytes(size: u64) -> String {
    format!("{} MiB", size >> 20)
}

/// What it ran on.
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
