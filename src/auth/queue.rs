//! The queues of passwords that wait for a core: the common queue has a few of each address,
//! however many an address sends.
//!
//! The common queue is first come, first served. A client that knows one right password could send
//! it on a thousand connections and fill that queue, since a right password leads to no delay and
//! no ban. So each address has a queue of its own before the common one. At most as many logins of
//! an address as there are cores are in the common queue. So logins from one address wait for each
//! other, and for only a few logins of each other address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The queues of all addresses.
#[derive(Debug)]
pub(super) struct Queues {
    /// The largest number of logins of one address in the common queue.
    each: usize,
    /// The addresses that have logins. The lock is held for a look-up only.
    queues: Mutex<HashMap<IpAddr, Queue>>,
}

#[derive(Debug)]
struct Queue {
    turns: Arc<Semaphore>,
    /// The logins that have a turn and those that wait for one.
    members: usize,
}

/// Permission to wait in the common queue and to be served. On drop, the next login gets it.
#[derive(Debug)]
pub(super) struct Turn {
    // In this order: the turn is free before the login leaves the queue.
    _permit: OwnedSemaphorePermit,
    _member: Member,
}

/// A login in the queue of an address.
#[derive(Debug)]
struct Member {
    queues: Arc<Queues>,
    address: IpAddr,
}

impl Queues {
    /// Creates queues from each of which at most `each` logins enter the common one.
    pub(super) fn new(each: usize) -> Self {
        Queues {
            each: each.max(1),
            queues: Mutex::default(),
        }
    }

    /// Waits for the turn of a login from this address. Cancel safe; the caller owns the deadline.
    pub(super) async fn turn(self: &Arc<Self>, address: IpAddr) -> Option<Turn> {
        let turns = {
            let mut queues = self.lock();
            let queue = queues.entry(address).or_insert_with(|| Queue {
                turns: Arc::new(Semaphore::new(self.each)),
                members: 0,
            });
            queue.members += 1;
            Arc::clone(&queue.turns)
        };
        let member = Member {
            queues: Arc::clone(self),
            address,
        };
        // The semaphore is never closed.
        let permit = turns.acquire_owned().await.ok()?;
        Some(Turn {
            _permit: permit,
            _member: member,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Queue>> {
        // Each step leaves it whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        if let Some(queue) = queues.get_mut(&self.address) {
            queue.members -= 1;
            if queue.members == 0 {
                queues.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::pin::pin;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn an_address_has_few_turns_and_is_forgotten() {
        let queues = Arc::new(Queues::new(2));
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let other: IpAddr = "10.0.0.2".parse().unwrap();
        let first = queues.turn(one).await.unwrap();
        let second = queues.turn(one).await.unwrap();
        let mut third = pin!(queues.turn(one));
        assert!(poll!(&mut third).is_pending());
        {
            let mut given_up = Box::pin(queues.turn(one));
            assert!(poll!(&mut given_up).is_pending());
        }
        // A login from another address does not wait for them.
        drop(queues.turn(other).await.unwrap());
        assert_eq!(queues.lock().len(), 1);
        assert_eq!(queues.lock()[&one].members, 3);
        drop(first);
        drop(third.await.unwrap());
        drop(second);
        assert!(queues.lock().is_empty());
    }
}
