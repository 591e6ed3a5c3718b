//! Child processes, and the kernel's figures of what a process has used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::args::Role;

/// Ticks a second in `/proc/PID/stat`: USER_HZ, 100 on every architecture that Rust's standard
/// library runs on.
const TICKS: f64 = 100.0;

/// A child process that does not outlive its owner.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("can't start {:?}", command.get_program()))?;
        Ok(Process { child })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes its piped standard output.
    pub fn stdout(&mut self) -> Result<BufReader<ChildStdout>> {
        let stdout = self
            .child
            .stdout
            .take()
            .context("standard output is not piped")?;
        Ok(BufReader::new(stdout))
    }

    /// Waits for its end. Fails unless it succeeded.
    pub fn finish(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the child process ended with {status}");
        Ok(())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // No failure matters here: the child has ended, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This binary with another role, its standard output piped. Add the role's options before starting
/// it.
pub fn role(role: Role) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--role", role.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Ok(command)
}

/// The next line of a child's output, without the line end.
pub fn read_line(output: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    anyhow::ensure!(line.ends_with('\n'), "the child process ended early");
    Ok(line.trim_end().to_owned())
}

/// What one contestant used for one piece of work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Wall time, seconds.
    pub wall: f64,
    /// CPU time, user and system, seconds.
    pub cpu: f64,
    /// Peak of the process's resident memory, KiB.
    pub peak: u64,
}

impl Sample {
    /// Measures this process while `work` runs.
    pub fn measure<T>(work: impl FnOnce() -> Result<T>) -> Result<(Sample, T)> {
        let id = std::process::id();
        let (cpu, start) = (cpu_seconds(id)?, Instant::now());
        let result = work()?;
        let sample = Sample {
            wall: start.elapsed().as_secs_f64(),
            cpu: cpu_seconds(id)? - cpu,
            peak: memory(id)?.peak,
        };
        Ok((sample, result))
    }

    /// The line with which a child process reports to its parent.
    pub fn to_line(self) -> String {
        format!("{} {} {}", self.wall, self.cpu, self.peak)
    }

    /// Reads [`Sample::to_line`].
    pub fn from_line(line: &str) -> Option<Sample> {
        let mut fields = line.split(' ');
        Some(Sample {
            wall: fields.next()?.parse().ok()?,
            cpu: fields.next()?.parse().ok()?,
            peak: fields.next()?.parse().ok()?,
        })
    }
}

/// Runs a role to its end, and returns its own measurement.
pub fn contend(command: &mut Command) -> Result<Sample> {
    let mut process = Process::start(command)?;
    let line = read_line(&mut process.stdout()?)?;
    Sample::from_line(&line).with_context(|| format!("not a sample: {line:?}"))
}

/// CPU seconds that a process has used so far, in user and kernel mode, its ended threads included.
pub fn cpu_seconds(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("reading /proc/PID/stat")?;
    let ticks = parse_stat(&stat).with_context(|| format!("/proc/PID/stat reads {stat:?}"))?;
    Ok(ticks as f64 / TICKS)
}

/// utime + stime, the 14th and 15th field; the second is a name in brackets that may hold blanks
/// and brackets.
pub fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory of a process, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Its peak (VmHWM).
    pub peak: u64,
    /// Now (VmRSS).
    pub resident: u64,
}

/// Resident memory of a process.
pub fn memory(id: u32) -> Result<Memory> {
    let status =
        fs::read_to_string(format!("/proc/{id}/status")).context("reading /proc/PID/status")?;
    parse_status(&status).context("/proc/PID/status has no VmHWM and VmRSS")
}

/// VmHWM and VmRSS of `/proc/PID/status`.
pub fn parse_status(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory {
        peak: field("VmHWM:")?,
        resident: field("VmRSS:")?,
    })
}
