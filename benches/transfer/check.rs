//! Checks of the benchmark itself: `cargo test --bench transfer`.
//!
//! A benchmark target has no test harness, so this is a list of functions that return an error.
//! They do not need the gateway, and none sets an upper limit on a time.

mod tls;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::args::{Args, Endpoint, Role, StoreChoice, Wire, parse_size};
use crate::client::{Door, parse_port, parse_transfers};
use crate::pacer::Pacer;
use crate::process::{Memory, Sample, parse_stat, parse_status};
use crate::report::{Contestant, Idle, Listing, Results, Round, Series};
use crate::sdk::{self, Direction, Objects};
use crate::store::{MILLION, Store, parse_range, percent_decode, sized_key};
use crate::tls::Identity;
use crate::{PART_SIZE, gateway, relay};

type Check = (&'static str, fn() -> Result<()>);

/// Runs all checks; fails if one does.
pub fn run() -> Result<()> {
    let checks: [Check; 13] = [
        ("sizes and stores are read", arguments),
        ("/proc is read", proc),
        ("clients' figures are read", clients),
        ("ranges and escapes are read", requests),
        ("the pacer keeps its rate", pacer),
        ("the report judges", report),
        ("the report compares", comparison),
        ("the configuration has no hole", configuration),
        ("the relay passes all", relayed),
        ("the relay under TLS passes all", tls::relayed),
        ("data connections resume", tls::resumed),
        ("the SDK and the store agree", sdk_and_store),
        ("the slow store is slow", slow_store),
    ];
    let mut failed = 0;
    for (name, check) in checks {
        match check() {
            Ok(()) => println!("{name}: ok"),
            Err(error) => {
                failed += 1;
                println!("{name}: FAILED: {error:#}");
            }
        }
    }
    ensure!(failed == 0, "{failed} checks failed");
    Ok(())
}

/// Fails unless the two are equal.
fn same<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Result<()> {
    ensure!(got == expected, "got {got:?}, expected {expected:?}");
    Ok(())
}

fn arguments() -> Result<()> {
    same(parse_size("4096")?, 4096)?;
    same(parse_size("3KiB")?, 3 << 10)?;
    same(parse_size("512MiB")?, 512 << 20)?;
    same(parse_size("1GiB")?, 1 << 30)?;
    for wrong in ["", "MiB", "0", "1MB", "1 MiB", "-1", "99999999999GiB"] {
        ensure!(parse_size(wrong).is_err(), "{wrong:?} was taken for a size");
    }
    same("null-slow".parse(), Ok(StoreChoice::NullSlow))?;
    ensure!("nul".parse::<StoreChoice>().is_err());
    same(args(&[])?.wires(), vec![Wire::Plain, Wire::Tls])?;
    same(args(&["--tls", "off"])?.wires(), vec![Wire::Plain])?;
    same(args(&["--tls", "on"])?.wires(), vec![Wire::Tls])?;
    ensure!(args(&["--tls", "1.3"]).is_err());
    Ok(())
}

fn proc() -> Result<()> {
    let stat = "17 (a (b) c) S 1 17 17 0 -1 4194304 5 6 7 8 120 34 9 9 20 0 3 0 100 1 2";
    same(parse_stat(stat), Some(154))?;
    same(parse_stat("17 (short) S 1"), None)?;
    let status = "Name:\ta\nVmPeak:\t  900 kB\nVmHWM:\t   512 kB\nVmRSS:\t   128 kB\n";
    let memory = Memory {
        peak: 512,
        resident: 128,
    };
    same(parse_status(status), Some(memory))?;
    same(parse_status("Name:\tkernel thread\n"), None)?;
    let sample = Sample {
        wall: 0.1 + 0.2,
        cpu: 0.03,
        peak: 7,
    };
    same(Sample::from_line(&sample.to_line()), Some(sample))
}

fn clients() -> Result<()> {
    let transfers = parse_transfers("0.25 10\n1.5 20\n")?;
    same(
        (transfers.count, transfers.bytes, transfers.seconds),
        (2, 30, 1.75),
    )?;
    ensure!(parse_transfers("0,25 10\n").is_err() && parse_transfers("1\n").is_err());
    same(
        parse_port("229 Entering Extended Passive Mode (|||40123|)"),
        Some(40123),
    )?;
    same(parse_port("229 (|||99999|)"), None)
}

fn requests() -> Result<()> {
    same(parse_range("bytes=0-9", 100), Ok((0, 10)))?;
    same(parse_range("bytes=90-", 100), Ok((90, 10)))?;
    same(parse_range("bytes=90-200", 100), Ok((90, 10)))?;
    same(parse_range("bytes=-10", 100), Ok((90, 10)))?;
    same(parse_range("bytes=-200", 100), Ok((0, 100)))?;
    same(parse_range("bytes=100-", 100), Err(()))?;
    same(parse_range("bytes=0-9", 0), Err(()))?;
    same(parse_range("lines=1-2", 100), Ok((0, 100)))?;
    same(percent_decode("a%2Fb%c3%a4%").as_str(), "a/bä%")
}

/// A thread that always wakes a millisecond late keeps the rate; one that paused does not catch up.
fn pacer() -> Result<()> {
    let (start, piece) = (Instant::now(), 100_000);
    let (mut pacer, mut now) = (Pacer::new(Some(80e6), start), start);
    for _ in 0..800 {
        let wait = pacer.advance(piece, now);
        if !wait.is_zero() {
            now += wait + Duration::from_millis(1);
        }
    }
    let seconds = (now - start).as_secs_f64();
    ensure!(
        (1.0..1.002).contains(&seconds),
        "80 MB took {seconds} s at 80 MB/s"
    );

    now += Duration::from_secs(10);
    let (mut ahead, mut free) = (Duration::ZERO, 0);
    while ahead.is_zero() {
        ahead = pacer.advance(piece, now);
        free += piece;
    }
    ensure!(free <= 1_000_000, "{free} bytes came at once after a pause");
    Ok(())
}

fn report() -> Result<()> {
    same(Series::of([3.0, 1.0, 2.0].into_iter()).median(), Some(2.0))?;
    same(Series::of([4.0, 1.0].into_iter()).median(), Some(2.5))?;
    same(Series::of(std::iter::empty()).median(), None)?;

    let round = Round::from([
        (GATEWAY, sample(1.2, 0.8, 97)),
        (Contestant::Sdk, sample(1.0, 0.5, 80)),
        (RELAY, sample(0.4, 0.4, 3)),
    ]);
    let mut results = Results::new(512 << 20);
    results.large("null-slow", Direction::Up, round.clone());
    results.small("null-slow", Direction::Up, Wire::Plain, 23.0);
    results.small("null-slow", Direction::Down, Wire::Plain, 25.0);
    results.list(Listing {
        sample: sample(1.2, 0.8, 97),
        growth: 8 << 10,
    });
    results.idle(Wire::Plain, Idle { kib_each: 20.0 });
    let verdicts: Vec<bool> = results
        .goals()
        .iter()
        .map(|goal| goal.measured <= goal.limit)
        .collect();
    // Wall to SDK, CPU to relay, seconds; small up, down; list, its memory; peak; idle.
    same(
        verdicts,
        vec![false, false, true, true, false, true, false, false, true],
    )?;
    let text = results.report(true);
    ensure!(
        text.contains("not met") && text.contains("| 1.20 "),
        "{text}"
    );
    ensure!(!text.contains("plain |"), "nothing to compare:\n{text}");

    // The goals are for one size only.
    let mut results = Results::new(1 << 20);
    results.large("null", Direction::Down, round);
    same(results.goals(), Vec::new())
}

/// Figures under TLS are compared with plaintext in each round, and have no goal.
fn comparison() -> Result<()> {
    let mut results = Results::new(512 << 20);
    for slow in [1.0, 2.0] {
        let round = Round::from([
            (GATEWAY, sample(slow, 0.4, 50)),
            (Contestant::Gateway(Wire::Tls), sample(1.5 * slow, 1.2, 60)),
            (Contestant::Sdk, sample(0.5 * slow, 0.2, 10)),
            (RELAY, sample(0.4, 0.2, 3)),
            (Contestant::Relay(Wire::Tls), sample(0.6, 0.8, 4)),
        ]);
        results.large("null", Direction::Up, round);
    }
    results.small("null-slow", Direction::Up, Wire::Tls, 99.0);
    results.idle(Wire::Tls, Idle { kib_each: 99.0 });
    let works: Vec<String> = results.goals().into_iter().map(|goal| goal.work).collect();
    same(
        works,
        vec![
            "512 MiB up, null: CPU".to_owned(),
            "peak memory in one large transfer".to_owned(),
        ],
    )?;
    let text = results.report(true);
    let cells = |start: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.starts_with(start));
        line.map_or_else(Vec::new, |line| {
            line.split('|').skip(4).map(str::trim).collect()
        })
    };
    // Wall, MiB/s, CPU, peak; to SDK, relay, plain wall and CPU; nothing after the last bar.
    same(
        cells("| 512 MiB up   | null  | s3ftpd, TLS "),
        vec![
            "2.25 (1.50)",
            "228",
            "1.20",
            "60",
            "3.00",
            "1.50",
            "1.50",
            "3.00",
            "",
        ],
    )?;
    same(
        cells("| 512 MiB up   | null  | relay, TLS "),
        vec!["0.60", "853", "0.80", "4", "", "", "1.50", "4.00", ""],
    )?;
    for needed in ["file of 4 KiB up, TLS, ms", "idle session, TLS, KiB"] {
        ensure!(text.contains(needed), "no {needed} in\n{text}");
    }
    Ok(())
}

const GATEWAY: Contestant = Contestant::Gateway(Wire::Plain);
const RELAY: Contestant = Contestant::Relay(Wire::Plain);

/// A sample: seconds of wall time and of CPU, and MiB.
fn sample(wall: f64, cpu: f64, mib: u64) -> Sample {
    Sample {
        wall,
        cpu,
        peak: mib << 10,
    }
}

fn configuration() -> Result<()> {
    let endpoint = args(&[])?.own_endpoint("http://127.0.0.1:9".to_owned());
    let plain = Door {
        port: 2121,
        identity: None,
    };
    let text = gateway::configuration(&endpoint, plain)?;
    for needed in [
        "listen = [\"127.0.0.1:2121\"]",
        "endpoint = \"http://127.0.0.1:9\"",
        "password = \"$2b$04$",
        "conditional_writes = true",
        "files_hide_directories = false",
    ] {
        ensure!(text.contains(needed), "no {needed} in\n{text}");
    }
    let own = gateway::configuration(
        &Endpoint {
            own: false,
            ..endpoint.clone()
        },
        plain,
    )?;
    ensure!(
        !own.contains("conditional_writes"),
        "a real endpoint is not probed"
    );
    let directory = tempfile::tempdir()?;
    let secure = Door {
        identity: Some(&Identity::create(directory.path())?),
        ..plain
    };
    let under_tls = gateway::configuration(&endpoint, secure)?;
    for needed in ["certificate = \"/", "tls.key\"", "data = \"required\""] {
        ensure!(under_tls.contains(needed), "no {needed} in\n{under_tls}");
        ensure!(!text.contains(needed), "{needed} in\n{text}");
    }
    Ok(())
}

fn relayed() -> Result<()> {
    let sample = relay::measure(20 << 20, None)?;
    ensure!(sample.wall > 0.0 && sample.peak > 0, "{sample:?}");
    Ok(())
}

fn sdk_and_store() -> Result<()> {
    let store = Store::start(Role::Null)?;
    let endpoint = args(&[])?.own_endpoint(store.url.clone());
    let size = 2 * PART_SIZE + 12_345;
    sdk::measure(&endpoint, Direction::Up, "dir/a b+ü.bin", size)?;
    sdk::measure(&endpoint, Direction::Down, "dir/a b+ü.bin", size)?;
    sdk::measure(&endpoint, Direction::Down, &sized_key(PART_SIZE), PART_SIZE)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let objects = Objects::new(&endpoint);
        same(objects.size("dir/a b+ü.bin").await?, Some(size))?;
        objects.upload("dir/small", 4096).await?;
        objects.upload("zero", 0).await?;
        same(objects.size("dir/small").await?, Some(4096))?;
        same(objects.page("", None).await?, (1, None))?;
        same(objects.page("dir/", None).await?, (2, None))?;
        objects.delete("dir/small").await?;
        same(objects.size("dir/small").await?, None)?;

        same(
            objects.page("a/million/", None).await?,
            (1000, Some("1000".to_owned())),
        )?;
        let last = (MILLION - 500).to_string();
        same(objects.page("a/million/", Some(last)).await?, (500, None))
    })
}

/// One part takes 20 ms and its length at 80 MB/s, in either direction; never less, however fast
/// the machine.
fn slow_store() -> Result<()> {
    let store = Store::start(Role::NullSlow)?;
    let endpoint = args(&[])?.own_endpoint(store.url.clone());
    let least = 0.020 + PART_SIZE as f64 / 80e6;
    for direction in [Direction::Up, Direction::Down] {
        let sample = sdk::measure(&endpoint, direction, &sized_key(PART_SIZE), PART_SIZE)?;
        println!(
            "  one part {direction}: {:.1} ms, at least {:.1}",
            sample.wall * 1e3,
            least * 1e3
        );
        ensure!(sample.wall >= least, "{sample:?}");
    }
    Ok(())
}

/// A command line.
fn args(switches: &[&str]) -> Result<Args> {
    Ok(clap::Parser::try_parse_from(
        [&["transfer"], switches].concat(),
    )?)
}
