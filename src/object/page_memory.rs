//! [`PageMemory`]: the memory of one page of a listing, out of the process's budget.
//!
//! While a page of 1,000 keys is read it takes between 200 KiB and 13 MiB: a key has up to 1,024
//! bytes, three times as many when it is url-encoded, and the SDK holds the body in pieces, in one
//! piece, and parsed. The store's `Content-Length` says how much it is going to be. So the memory
//! is taken when the headers have arrived and before the body is read; a store that does not answer
//! holds none. A body of unknown length begins to be read without it, so that a short listing waits
//! for no upload. What the page needs no more after it has been parsed is given back.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, InterceptorContext,
};
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::task::AbortOnDropHandle;

use crate::memory::{Budget, Exhausted, Grant};

/// The longest that a page waits for memory: less than an attempt of a request may take.
const WAIT: Duration = Duration::from_secs(20);

/// A body of up to this length takes no memory of its own, bytes: the admission of the listing
/// covers it.
const COVERED: u64 = 16 * 1024;

/// A key's share of the body at most, bytes: 1,024 bytes, url-encoded, and what stands around them.
const LONGEST_ENTRY: u64 = 3 * 1024 + 400;

/// How often the body is in memory at the same time, in some form.
const COPIES: u64 = 4;

/// What a page does if its memory is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfTaken {
    /// It waits for its turn.
    Wait,
    /// It is not read. For a page that is not needed yet.
    Refuse,
}

/// Takes the memory of one page; an interceptor of its request.
#[derive(Debug, Clone)]
pub(super) struct PageMemory {
    budget: Budget,
    if_taken: IfTaken,
    /// Bytes, if the store does not say how long the body is.
    most: u64,
    /// The lock is held for an assignment only.
    state: Arc<Mutex<Reserve>>,
}

#[derive(Debug)]
enum Reserve {
    /// Nothing is held: there are no headers yet, or it is a small page.
    Nothing,
    Held(Grant),
    /// The budget was taken.
    Refused,
}

impl PageMemory {
    /// For a page of at most `keys` keys.
    pub(super) fn new(budget: &Budget, keys: i32, if_taken: IfTaken) -> Self {
        let keys = u64::try_from(keys).unwrap_or(1000);
        PageMemory {
            budget: budget.clone(),
            if_taken,
            most: keys * LONGEST_ENTRY,
            state: Arc::new(Mutex::new(Reserve::Nothing)),
        }
    }

    /// Whether the page was not read for want of memory.
    pub(super) fn refused(&self) -> bool {
        matches!(*self.state(), Reserve::Refused)
    }

    /// What a parsed page of `bytes` bytes keeps; the rest is given back.
    pub(super) fn keep(self, bytes: u64) -> Option<Grant> {
        match std::mem::replace(&mut *self.state(), Reserve::Nothing) {
            Reserve::Held(mut grant) => {
                grant.shrink_to(bytes);
                Some(grant)
            }
            Reserve::Nothing | Reserve::Refused => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, Reserve> {
        // An assignment leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What reading a body of this length takes. Never more than transfers leave free.
    fn needed(&self, length: Option<u64>) -> u64 {
        let length = length.unwrap_or(self.most);
        length
            .saturating_mul(COPIES)
            .min(self.budget.largest_part() / 2)
    }

    async fn take(self, bytes: u64) -> Result<(), Exhausted> {
        // Of an attempt before this one.
        *self.state() = Reserve::Nothing;
        let taken = match self.if_taken {
            IfTaken::Wait => self.budget.grant(bytes, WAIT).await.ok(),
            IfTaken::Refuse => self.budget.try_grant(bytes),
        };
        match taken {
            Some(grant) => {
                *self.state() = Reserve::Held(grant);
                Ok(())
            }
            None => {
                *self.state() = Reserve::Refused;
                Err(Exhausted)
            }
        }
    }
}

impl Intercept for PageMemory {
    fn name(&self) -> &'static str {
        "page memory"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.refused() {
            return Err(Exhausted.into());
        }
        let response = context.response_mut();
        let header = response.headers().get("content-length");
        let length = header.and_then(|length| length.parse().ok());
        if length.is_none_or(|length| length > COVERED) {
            let body = std::mem::replace(response.body_mut(), SdkBody::taken());
            *response.body_mut() = SdkBody::from_body_1_x(Admitted {
                body,
                memory: self.clone(),
                length,
                passed: 0,
                taking: Taking::NotYet,
            });
        }
        Ok(())
    }
}

/// A refused page is not worth another attempt.
impl ClassifyRetry for PageMemory {
    fn name(&self) -> &'static str {
        "page memory"
    }

    fn classify_retry(&self, _: &InterceptorContext) -> RetryAction {
        match self.refused() {
            true => RetryAction::RetryForbidden,
            false => RetryAction::NoActionIndicated,
        }
    }
}

/// A body that is not read further than [`COVERED`] before its memory is there.
struct Admitted {
    body: SdkBody,
    memory: PageMemory,
    length: Option<u64>,
    /// Bytes that were read.
    passed: u64,
    taking: Taking,
}

enum Taking {
    NotYet,
    Waiting(AbortOnDropHandle<Result<(), Exhausted>>),
    Taken,
}

impl Admitted {
    fn poll_memory(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Exhausted>> {
        loop {
            match &mut self.taking {
                Taking::NotYet if self.length.is_none() && self.passed < COVERED => {
                    return Poll::Ready(Ok(()));
                }
                Taking::NotYet => {
                    let needed = self.memory.needed(self.length);
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the handle aborts the task when dropped"
                    )]
                    let taking = tokio::spawn(self.memory.clone().take(needed));
                    self.taking = Taking::Waiting(AbortOnDropHandle::new(taking));
                }
                Taking::Waiting(taking) => {
                    let taken = ready!(Pin::new(taking).poll(context));
                    if !matches!(taken, Ok(Ok(()))) {
                        return Poll::Ready(Err(Exhausted));
                    }
                    self.taking = Taking::Taken;
                }
                Taking::Taken => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Body for Admitted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Err(error) = ready!(this.poll_memory(context)) {
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len);
            this.passed += length as u64;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::poll;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// All that the budget gives to work that may not wait.
    fn all_free(budget: &Budget) -> Vec<Grant> {
        std::iter::from_fn(|| budget.try_grant(32 * 1024)).collect()
    }

    #[tokio::test]
    async fn the_body_waits_for_its_memory_and_the_parsed_page_keeps_less() {
        let budget = Budget::new(20 * MIB);
        let all = all_free(&budget);
        let memory = PageMemory::new(&budget, 1000, IfTaken::Wait);
        let mut taking = Box::pin(memory.clone().take(memory.needed(Some(MIB / 2))));
        assert!(poll!(&mut taking).is_pending());
        drop(all);
        taking.await.unwrap();
        assert_eq!(budget.in_use(), 2 * MIB);
        let kept = memory.keep(MIB);
        assert_eq!(budget.in_use(), MIB);
        drop(kept);
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn a_page_ahead_of_its_reader_waits_for_nothing() {
        let budget = Budget::new(20 * MIB);
        let _all = all_free(&budget);
        let memory = PageMemory::new(&budget, 1000, IfTaken::Refuse);
        assert!(memory.clone().take(MIB).await.is_err());
        assert!(memory.refused());
    }

    #[test]
    fn an_unknown_length_is_the_longest_that_can_be_had() {
        let memory = |budget| PageMemory::new(&Budget::new(budget), 1000, IfTaken::Wait);
        assert_eq!(memory(20 * MIB).needed(None), 5 * MIB / 2);
        let most = memory(1024 * MIB).needed(None);
        assert!((13 * MIB..14 * MIB).contains(&most));
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_read_as_far_as_it_is_covered() {
        let budget = Budget::new(20 * MIB);
        let memory = PageMemory::new(&budget, 1000, IfTaken::Refuse);
        let _all = all_free(&budget);
        let body = |passed| Admitted {
            body: SdkBody::from("rest"),
            memory: memory.clone(),
            length: None,
            passed,
            taking: Taking::NotYet,
        };
        let next = async |mut body: Admitted| {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            frame.await.unwrap().is_ok()
        };
        assert!(next(body(COVERED - 1)).await);
        assert!(!next(body(COVERED)).await && memory.refused());
    }
}
