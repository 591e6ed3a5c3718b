//! The question before an upload is published: a virus scanner's place.
//!
//! The file lies whole at a staged key, and the receiver reads it from the store itself. The answer
//! is HTTP 200 with `{"allow": true}`, or `{"allow": false, "reason": "…"}`. Anything else does not
//! count as an answer.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::events::metrics::{CallResult, HookCalls, Metrics};
use crate::hooks::client::{CallError, Connections, HookClient};
use crate::hooks::options::{BeforePublishOptions, OnHookFailure};
use crate::hooks::signature::{self, Signer};

/// A longer reason is cut, characters.
const LONGEST_REASON: usize = 200;

/// Asks before an upload is published.
#[derive(Debug)]
pub struct BeforePublish {
    client: HookClient,
    signer: Option<Signer>,
    on_failure: OnHookFailure,
    calls: HookCalls,
}

/// What is asked about.
#[derive(Debug, Clone, Serialize)]
pub struct Question<'a> {
    /// The transfer id.
    pub transfer: &'a str,
    /// The user who has sent the file.
    pub user: &'a str,
    /// The client's address.
    pub peer: IpAddr,
    /// The virtual path at which the file is to appear.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The store's name in the configuration.
    pub store: &'a str,
    /// The bucket of the staged file.
    pub bucket: &'a str,
    /// The key of the staged file.
    pub key: &'a str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The upload may be published.
    Allowed,
    /// It may not: the reason, one line that fits into a reply.
    Refused(String),
}

/// The body of the answer.
#[derive(Debug, Deserialize)]
struct AnswerBody {
    allow: bool,
    #[serde(default)]
    reason: Option<String>,
}

impl BeforePublish {
    /// Makes no connection yet.
    ///
    /// # Errors
    /// The URL is not one, or TLS can't be set up.
    pub fn new(
        options: &BeforePublishOptions,
        metrics: &Metrics,
    ) -> Result<BeforePublish, CallError> {
        Ok(BeforePublish {
            client: HookClient::new(&options.url, options.timeout, Connections::Fresh)?,
            signer: options.secret.clone().map(Signer::new),
            on_failure: options.on_failure,
            calls: metrics.hook_calls("before_publish"),
        })
    }

    /// What signs its calls.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// What becomes of an upload without an answer.
    pub fn on_failure(&self) -> OnHookFailure {
        self.on_failure
    }

    /// Asks once. Cancel safe.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Decision, CallError> {
        let call = self.calls.begin();
        let decision = self.call(question).await;
        call.ended(match &decision {
            Ok(Decision::Allowed) => CallResult::Ok,
            Ok(Decision::Refused(_)) => CallResult::Refused,
            Err(error) => error.result(),
        });
        decision
    }

    async fn call(&self, question: &Question<'_>) -> Result<Decision, CallError> {
        let setup = |error: &dyn std::error::Error| CallError::Setup(error.to_string());
        let body = serde_json::to_vec(question).map_err(|error| setup(&error))?;
        // A resumed upload has the id of its first transfer, and other bytes: a receiver that keeps
        // answers by id must not give the old one.
        let unique = getrandom::u64().map_err(|error| CallError::Setup(error.to_string()))?;
        let id = format!("{}-{unique:016x}", question.transfer);
        let headers = signature::headers(self.signer.as_ref(), &id, &body);
        let headers = headers.map_err(|error| setup(&error))?;
        let answer = self
            .client
            .post("application/json", headers, Bytes::from(body))
            .await?;
        if answer.status != http::StatusCode::OK {
            return Err(CallError::Answer(format!(
                "HTTP {}",
                answer.status.as_u16()
            )));
        }
        match serde_json::from_slice::<AnswerBody>(&answer.body) {
            Ok(AnswerBody { allow: true, .. }) => Ok(Decision::Allowed),
            Ok(AnswerBody { reason, .. }) => {
                Ok(Decision::Refused(one_line(&reason.unwrap_or_default())))
            }
            // Its words could be anything: they are not shown.
            Err(_) => Err(CallError::Answer(
                "with something other than {\"allow\": true} or {\"allow\": false}".to_owned(),
            )),
        }
    }
}

/// A text of the receiver as a part of a reply: no control characters, single spaces, not long.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace() || is_invisible(c));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let line: String = words.join(" ").chars().take(LONGEST_REASON).collect();
    match line.is_empty() {
        true => "no reason was given".to_owned(),
        false => line,
    }
}

/// Characters that change how the rest of a line is shown.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_that_forges_no_reply() {
        for (text, expected) in [
            ("Eicar-Test-Signature", "Eicar-Test-Signature"),
            (
                "two\r\n226 lines\t of \u{1b}[31m text",
                "two 226 lines of [31m text",
            ),
            ("turned \u{202e}around", "turned around"),
            ("", "no reason was given"),
            (" \u{85}\n ", "no reason was given"),
        ] {
            assert_eq!(one_line(text), expected);
        }
        assert_eq!(one_line(&"ä".repeat(1000)).chars().count(), LONGEST_REASON);
    }
}
