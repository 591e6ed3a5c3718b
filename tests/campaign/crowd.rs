//! Many clients in parallel, each with a file larger than a part, under faults and with a budget
//! for a few of them. Every upload ends, and all memory returns to the budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use crate::client::{Break, Client};
use crate::content::{Content, Random};
use crate::figures::Figures;
use crate::gateway::Gateways;
use crate::model::Model;
use crate::{BUDGET_MIB, USERS, user};

const MIB: u64 = 1024 * 1024;

/// The deadline for the last one.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends this number of files in parallel.
pub async fn run(
    clients: usize,
    seed: u64,
    gateways: &Arc<Gateways>,
    model: &Arc<Model>,
    figures: &Arc<Figures>,
) {
    let begun = Instant::now();
    let start = Arc::new(Barrier::new(clients));
    let mut tasks = Vec::new();
    for number in 0..clients {
        let member = Member {
            number,
            random: Random::new(seed ^ ((number as u64) << 20)),
            gateways: Arc::clone(gateways),
            model: Arc::clone(model),
            figures: Arc::clone(figures),
        };
        tasks.push(tokio::spawn(member.run(Arc::clone(&start))));
    }
    let ended = async {
        for task in tasks {
            task.await.unwrap();
        }
    };
    tokio::pin!(ended);
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = &mut ended => break,
            _ = clock.tick() => {}
        }
        let (mut sessions, mut uploads) = (0, 0);
        for which in 0..2 {
            let gauges = gateways.gauges(which).await;
            sessions += gauges.sessions;
            uploads += gauges.uploads;
            assert!(gauges.memory <= BUDGET_MIB * MIB, "{gauges:?}");
            figures.most(
                "crowd: most memory of transfers in a gateway",
                gauges.memory,
            );
        }
        figures.most("crowd: most sessions", sessions);
        figures.most("crowd: most uploads", uploads);
        assert!(
            begun.elapsed() < PATIENCE,
            "a crowd of {clients} has not ended: {sessions} sessions, {uploads} uploads"
        );
    }
    figures.add("crowd: clients", clients as u64);
    figures.add("crowd: seconds", begun.elapsed().as_secs());
    let most = figures.of("crowd: most sessions");
    assert!(most >= clients as u64, "{most} of {clients} at once");
}

/// One of them.
struct Member {
    number: usize,
    random: Random,
    gateways: Arc<Gateways>,
    model: Arc<Model>,
    figures: Arc<Figures>,
}

impl Member {
    async fn run(mut self, start: Arc<Barrier>) {
        let name = format!("crowd/f{}", self.number);
        let size = 6 * MIB + self.random.below(5 * MIB);
        let whole = Content::new(1 << 60 | self.number as u64, size);
        let since = self.model.intend(&name, Some(whole.clone()));
        let mut client = Some(self.connect().await);
        start.wait().await;
        let mut from = 0;
        loop {
            let connected = match client.take() {
                Some(client) => client,
                None => self.connect().await,
            };
            let rest: Vec<String> = (from > 0)
                .then(|| format!("REST {from}"))
                .into_iter()
                .collect();
            let bytes = whole.bytes(from, size);
            let store = format!("STOR {name}");
            let sent = connected.upload(&rest, &store, &bytes, Break::None).await;
            self.model
                .note(&name, &format!("from {from} of {size}: {sent:?}"));
            self.figures.add("bytes sent", sent.bytes);
            match &sent.reply {
                Some((226, _)) => {
                    assert!(sent.ended, "{}", self.model.history(&name));
                    self.figures.count("acknowledged");
                    self.model.set(&name, vec![Some(whole)], since);
                    return;
                }
                _ => self.figures.count("crowd: tried again"),
            }
            from = self.ask(&name, size).await;
        }
    }

    async fn connect(&self) -> Client {
        let address = self.gateways.address(self.number % 2);
        let user = user(self.number % USERS);
        loop {
            if let Ok(client) = Client::connect(address, &user).await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The offset at which to resume: the interrupted upload's length, or 0.
    async fn ask(&mut self, name: &str, size: u64) -> u64 {
        let pause = Duration::from_millis(200 + self.random.below(800));
        loop {
            tokio::time::sleep(pause).await;
            let mut client = self.connect().await;
            match client.command(&format!("SIZE {name}")).await {
                Ok((213, text)) => {
                    let length: u64 = text.parse().unwrap();
                    self.model.note(name, &format!("SIZE reports {length}"));
                    assert!(length <= size, "{}", self.model.history(name));
                    // The file is complete, but its 226 was lost: it is sent again, to get one.
                    return if length == size { 0 } else { length };
                }
                Ok((550, _)) => return 0,
                _ => {}
            }
        }
    }
}
