//! Calls to HTTP endpoints of the operator: the question before an upload is published, and the
//! delivery of events.
//!
//! Each call is one POST of JSON, signed by the scheme of Standard Webhooks if a secret is
//! configured. A call has one deadline for all of it, from the connection to the last byte of the
//! answer; the answer is bounded. A redirect is not followed: it is a failure.

mod before_publish;
mod client;
mod cloud_event;
mod event_hook;
mod event_hooks;
mod event_queue;
pub mod options;
mod signature;

pub use before_publish::{BeforePublish, Decision, Question};
pub use client::CallError;
pub use event_hook::{EventHook, Sender};
pub use event_hooks::EventHooks;
pub use signature::{SecretError, Signer, check_secret};
