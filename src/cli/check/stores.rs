//! `check --stores`: looks at each bucket that a mount uses, and reports a line each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::object::Store;
use crate::object::look::{LookFailure, Trial};
use crate::server::options::ServerOptions;
use crate::server::store_use::{BucketUse, StoreUse};

/// Buckets that are looked at in parallel.
const PARALLEL: usize = 8;

/// How buckets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// By one list.
    List,
    /// By writing probe objects, too, if a mount may write there.
    Write,
}

/// What was found at the stores.
#[derive(Debug)]
pub(super) struct StoresReport(Vec<StoreReport>);

#[derive(Debug)]
struct StoreReport {
    name: String,
    required: bool,
    buckets: Vec<BucketReport>,
}

#[derive(Debug)]
struct BucketReport {
    bucket: Arc<str>,
    prefix: String,
    /// Whether no mount writes there, so that nothing was written.
    read_only: bool,
    trial: Trial,
}

impl StoresReport {
    /// Looks at all buckets, until it is cancelled.
    pub(super) async fn of(
        config: &ServerOptions,
        stores: &BTreeMap<String, Arc<Store>>,
        looks: Looks,
        cancel: &CancellationToken,
    ) -> StoresReport {
        let used = StoreUse::of(config, stores);
        let buckets = used.iter().flat_map(|store| &store.buckets);
        let trials = buckets.map(|bucket| BucketReport::of(bucket, looks, cancel));
        let mut found = stream::iter(trials).buffered(PARALLEL);
        let mut reports = Vec::with_capacity(used.len());
        for store in &used {
            let buckets = found.by_ref().take(store.buckets.len());
            reports.push(StoreReport {
                name: store.store.name().to_owned(),
                required: store.required,
                buckets: buckets.collect().await,
            });
        }
        StoresReport(reports)
    }

    /// Whether everything that was tried is allowed.
    pub(super) fn passed(&self) -> bool {
        let mut buckets = self.0.iter().flat_map(|store| &store.buckets);
        buckets.all(|bucket| bucket.trial.passed())
    }

    /// A line for each bucket.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for store in &self.0 {
            // Writing to a string does not fail.
            if store.buckets.is_empty() {
                let _ = writeln!(text, "  {}: no mount uses it", store.name);
            }
            for bucket in &store.buckets {
                let _ = writeln!(text, "  {}:{}", store.name, bucket.line());
            }
        }
        text
    }

    /// The same as a JSON object.
    pub(super) fn json(&self, warnings: &[String]) -> String {
        let stores = self.0.iter().map(|store| {
            let buckets = store.buckets.iter().map(BucketReport::json);
            json!({
                "store": store.name,
                "required": store.required,
                "buckets": buckets.collect::<Vec<_>>(),
            })
        });
        let report = json!({
            "ok": self.passed(),
            "warnings": warnings,
            "stores": stores.collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }
}

/// The problems of a configuration, one a line, as a JSON object.
pub(super) fn problems(problems: &str) -> String {
    let problems: Vec<&str> = problems.lines().collect();
    format!("{:#}\n", json!({ "ok": false, "problems": problems }))
}

impl BucketReport {
    async fn of(used: &BucketUse, looks: Looks, cancel: &CancellationToken) -> BucketReport {
        let directory = &used.directory;
        let trial = match looks {
            Looks::Write if used.writes => Box::pin(Trial::by_writing(directory, cancel)).await,
            Looks::Write | Looks::List => Trial::by_list(directory, cancel).await,
        };
        BucketReport {
            bucket: Arc::clone(&directory.bucket),
            prefix: directory.key.clone(),
            read_only: looks == Looks::Write && !used.writes,
            trial,
        }
    }

    fn line(&self) -> String {
        let trial = &self.trial;
        let mut parts = Vec::new();
        let mut list = |words: &str, names: Vec<&str>| {
            if !names.is_empty() {
                parts.push(format!("{words} {}", names.join(" ")));
            }
        };
        let allowed = trial.steps.iter().filter(|(_, result)| result.is_ok());
        list("allowed", allowed.map(|(step, _)| step.name()).collect());
        for (words, answer) in [("can", true), ("cannot", false)] {
            let found = trial.abilities.iter();
            let found = found.filter(|(_, found)| found.as_ref().ok() == Some(&answer));
            list(words, found.map(|(ability, _)| ability.name()).collect());
        }
        for (step, result) in &trial.steps {
            if let Err(failure) = result {
                parts.push(format!("failed {}: {failure}", step.name()));
            }
        }
        for (ability, found) in &trial.abilities {
            if let Err(failure) = found {
                parts.push(format!("unknown {}: {failure}", ability.name()));
            }
        }
        for key in &trial.contradictions {
            parts.push(format!("wrong in the configuration: {key}"));
        }
        if let Some(failure) = &trial.left {
            parts.push(format!(
                "probe objects may be left for the sweep: {failure}"
            ));
        }
        if self.read_only {
            parts.push("nothing written, as no mount writes there".to_owned());
        }
        format!("{}: {}", self.bucket, parts.join("; "))
    }

    fn json(&self) -> Value {
        let trial = &self.trial;
        let steps = trial.steps.iter().map(|(step, result)| {
            let mut shown = json!({ "step": step.name(), "ok": result.is_ok() });
            if let Err(failure) = result {
                shown["failure"] = failure_json(failure);
            }
            shown
        });
        let can = trial.abilities.iter().map(|(ability, found)| {
            let found = found.as_ref().map_or(Value::Null, |found| (*found).into());
            (ability.name().to_owned(), found)
        });
        json!({
            "bucket": *self.bucket,
            "prefix": self.prefix,
            "ok": trial.passed(),
            "steps": steps.collect::<Vec<_>>(),
            "can": can.collect::<Map<_, _>>(),
            "contradictions": trial.contradictions,
            "left": trial.left.as_ref().map(failure_json),
        })
    }
}

fn failure_json(failure: &LookFailure) -> Value {
    json!({ "class": failure.trouble.name(), "reason": failure.reason })
}
