//! What `/metrics` reports: the counters of [`Metrics`](crate::events::metrics::Metrics), and the
//! gauges that are read from their owners at each scrape.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use crate::data::passive::{PassivePool, PortUsage};
use crate::object::RecordCache;
use crate::session::ServerContext;

/// The type of [`text()`]: OpenMetrics.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The owners of the gauges.
#[derive(Debug)]
pub(super) struct Observed {
    /// Sessions, bans, memory, uploads and certificates.
    pub(super) context: Arc<ServerContext>,
    /// The passive ports.
    pub(super) pools: Vec<Arc<PassivePool>>,
    /// The records of uploads.
    pub(super) record_cache: Arc<RecordCache>,
    /// Whether the server takes new sessions.
    pub(super) ready: watch::Receiver<bool>,
    /// The number of lines that the log has lost.
    pub(super) lost_lines: Arc<AtomicU64>,
}

/// All metrics as text.
///
/// # Errors
/// None, since a text takes everything; the encoder's interface has one.
pub(super) fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

impl Observed {
    /// The registry of all metrics of the server.
    pub(super) fn registry(self) -> Arc<Registry> {
        let mut registry = self.context.metrics.registry();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of this process", build);
        registry.register_collector(Box::new(self));
        Arc::new(registry)
    }

    fn sessions(&self, gauges: &mut Gauging<'_, '_>) -> fmt::Result {
        let (all, before_login) = self.context.sessions.counts();
        let running = usize::try_from(self.context.metrics.transfers_running());
        let logged_in = all.saturating_sub(before_login);
        // The three numbers are not of the same instant.
        let transferring = running.unwrap_or(0).min(logged_in);
        let states = [
            ("before_login", before_login),
            ("idle", logged_in - transferring),
            ("transferring", transferring),
        ];
        gauges.by("sessions", "Open control connections", "state", &states)?;
        let (addresses, users) = self.context.failures.ban_counts();
        let banned = [("address", addresses), ("user", users)];
        gauges.by("banned", "Bans that last", "of", &banned)?;
        gauges.one(
            "ready",
            "1, or 0 while the server drains",
            None,
            u64::from(*self.ready.borrow()),
        )
    }

    fn memory(&self, gauges: &mut Gauging<'_, '_>) -> fmt::Result {
        let budget = &self.context.budget;
        let bytes = Some(Unit::Bytes);
        gauges.one(
            "memory_budget",
            "Memory for all transfers",
            bytes.clone(),
            budget.total(),
        )?;
        gauges.one(
            "memory_used",
            "Memory of the budget in use",
            bytes,
            budget.in_use(),
        )?;
        let waiters = budget.waiters();
        gauges.by(
            "memory_waiters",
            "Requests that wait for memory",
            "holder",
            &waiters,
        )
    }

    fn ports(&self, gauges: &mut Gauging<'_, '_>) -> fmt::Result {
        let mut all = PortUsage::default();
        for pool in &self.pools {
            let usage = pool.usage();
            all.ports += usage.ports;
            all.waiting += usage.waiting;
            all.resting += usage.resting;
            all.queued += usage.queued;
        }
        gauges.one("passive_ports", "Bound passive ports", None, all.ports)?;
        let states = [
            ("waiting", all.waiting),
            ("resting", all.resting),
            ("queued", all.queued),
        ];
        let help = "Reservations of a passive port for a client's address";
        gauges.by("passive_reservations", help, "state", &states)
    }

    fn uploads(&self, gauges: &mut Gauging<'_, '_>) -> fmt::Result {
        let active = self.context.active_uploads.count();
        gauges.one(
            "uploads_active",
            "Uploads with work left in the store",
            None,
            active,
        )?;
        let records = self.record_cache.count();
        let help = "Objects with a running or interrupted upload, as far as this process knows";
        gauges.one("upload_records", help, None, records)
    }

    fn logins(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let hits = self.context.authenticator.recent_hits();
        let help = "Logins that needed no check of the password's hash";
        encoder
            .encode_descriptor("login_cache_hits", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&hits, None)
    }

    fn log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let lost = self.lost_lines.load(Ordering::Relaxed);
        let help = "Lines of the log that were lost, since standard error did not take them";
        encoder
            .encode_descriptor("log_lines_lost", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&lost, None)
    }

    fn certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(tls) = &self.context.tls else {
            return Ok(());
        };
        let mut metric = encoder.encode_descriptor(
            "certificate_end_timestamp",
            "When a certificate expires, since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (number, certificate) in tls.certificates().into_iter().enumerate() {
            let name = certificate.names.into_iter().next().unwrap_or_default();
            // Two certificates can have the same name.
            let labels = [("certificate", (number + 1).to_string()), ("name", name)];
            metric
                .encode_family(&labels)?
                .encode_gauge(&certificate.ends)?;
        }
        Ok(())
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges = Gauging(&mut encoder);
        self.sessions(&mut gauges)?;
        self.memory(&mut gauges)?;
        self.ports(&mut gauges)?;
        self.uploads(&mut gauges)?;
        self.logins(&mut encoder)?;
        self.log(&mut encoder)?;
        self.certificates(&mut encoder)
    }
}

/// Writes gauges.
struct Gauging<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Gauging<'_, '_> {
    fn one(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        let unit = unit.as_ref();
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn by(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[(&'static str, usize)],
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, count) in values {
            metric
                .encode_family(&[(label, *value)])?
                .encode_gauge(count)?;
        }
        Ok(())
    }
}
