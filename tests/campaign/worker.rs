//! What one client sends. What it does with existing files is in [`crate::files`].

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{Break, Client, Sent};
use crate::content::{Content, Random};
use crate::figures::Figures;
use crate::gateway::{self, Gateways};
use crate::model::{Model, leaves_open};
use crate::{SHARED, user};

const MIB: u64 = 1024 * 1024;

/// Names of each client's own.
pub const NAMES: u64 = 5;

/// How often a resume is tried before the upload is given up.
const PATIENCE: u32 = 12;

pub struct Worker {
    pub number: usize,
    pub random: Random,
    pub gateways: Arc<Gateways>,
    pub model: Arc<Model>,
    pub figures: Arc<Figures>,
    tags: u64,
    /// The gateway of the last session, for histories.
    pub at: &'static str,
    /// Names with an upload that was given up and may still be saved. A process that is killed in a
    /// fast upload leaves no trace of it, so the next reported length may be that of the earlier
    /// upload (docs/design/resume-protocol.md). A careful client starts over.
    left: BTreeSet<String>,
}

/// An upload that broke off.
struct Pending {
    /// The content that the file is meant to have.
    whole: Content,
    /// The most bytes of it that can have arrived.
    most: u64,
    /// Bytes of the object that it is appended to.
    old: u64,
    /// Whether the connection was lost, so that the gateway may have been killed.
    lost: bool,
    /// The largest length of it that SIZE reported.
    reported: u64,
    /// Bytes that were sent of it.
    sent: u64,
    /// Whether only its client broke it off, and never a gateway or the store.
    interrupted: bool,
    /// Whether connections were reset, which discards bytes in flight.
    reset: bool,
}

impl Worker {
    pub fn new(
        number: usize,
        random: Random,
        gateways: Arc<Gateways>,
        model: Arc<Model>,
        figures: Arc<Figures>,
    ) -> Worker {
        Worker {
            number,
            random,
            gateways,
            model,
            figures,
            tags: 0,
            at: "",
            left: BTreeSet::new(),
        }
    }

    pub async fn run(mut self) {
        while self.figures.next() {
            let name = format!("c{}/n{}", self.number, self.random.below(NAMES));
            // A gateway that is being restarted does not answer; the next operation asks again.
            let done = match self.random.below(100) {
                0..45 => self.store(&name).await,
                45..57 => self.append(&name).await,
                57..65 => self.restart(&name).await,
                65..73 => self.rename(&name).await,
                73..77 => self.delete(&name).await,
                77..88 => self.fetch(&name).await,
                _ => self.store_shared().await,
            };
            if done.is_err() {
                self.figures.count("gateway gone");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub async fn connect(&mut self) -> io::Result<Client> {
        let which = self.random.below(2) as usize;
        self.at = gateway::NAMES[which];
        let mut last = io::Error::other("never");
        for _ in 0..100 {
            match Client::connect(self.gateways.address(which), &user(self.number)).await {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(last)
    }

    /// Ends the campaign, and prints what was done with a name.
    pub fn fail(&self, name: &str, what: &str) -> ! {
        let (possible, history) = (self.model.possible(name), self.model.history(name));
        panic!("{name}: {what}\nit may hold {possible:?}\n{history}")
    }

    fn tag(&mut self) -> u64 {
        self.tags += 1;
        (self.number as u64) << 32 | self.tags
    }

    fn size(&mut self) -> u64 {
        match self.random.below(100) {
            0..45 => self.random.below(4096),
            45..70 => self.random.below(200_000),
            70..87 => self.random.below(4 * MIB),
            _ => {
                let parts = (1 + self.random.below(3)) * 5 * MIB;
                match self.random.below(4) {
                    0 => parts,
                    1 => parts - 1,
                    2 => parts + 1,
                    _ => parts + self.random.below(5 * MIB),
                }
            }
        }
    }

    fn break_of(&mut self) -> Break {
        match self.random.below(100) {
            0..60 => Break::None,
            60..72 => Break::Reset,
            72..82 => Break::Abor,
            82..91 => Break::Exit,
            _ => Break::Vanish,
        }
    }

    async fn store(&mut self, name: &str) -> io::Result<()> {
        let (tag, size) = (self.tag(), self.size());
        let whole = Content::new(tag, size);
        self.send_and_go_on(name, "STOR", &[], whole, 0).await
    }

    async fn append(&mut self, name: &str) -> io::Result<()> {
        let Some(old) = self.known(name).await? else {
            return Ok(());
        };
        let (tag, size) = (self.tag(), self.size());
        let from = old.as_ref().map_or(0, Content::size);
        if from > 40 * MIB {
            return Ok(());
        }
        self.figures.count("appends");
        let whole = old.unwrap_or_default().and(tag, size);
        self.send_and_go_on(name, "APPE", &[], whole, from).await
    }

    async fn restart(&mut self, name: &str) -> io::Result<()> {
        let Some(Some(old)) = self.known(name).await? else {
            return Ok(());
        };
        if old.size() < 2 {
            return Ok(());
        }
        self.figures.count("restarts inside objects");
        let from = 1 + self.random.below(old.size() - 1);
        let (tag, size) = (self.tag(), self.size());
        let whole = old.cut(from).and(tag, size);
        let rest = [format!("REST {from}")];
        self.send_and_go_on(name, "STOR", &rest, whole, from).await
    }

    /// A name that other clients write too, each as their own user.
    async fn store_shared(&mut self) -> io::Result<()> {
        let name = format!("shared/s{}", self.random.below(SHARED as u64));
        let (tag, size) = (self.tag(), self.size());
        let whole = Content::new(tag, size);
        self.model.begin_shared(&name, size);
        self.send_and_go_on(&name, "STOR", &[], whole, 0).await
    }

    /// Sends a file from byte `from` on, and resumes it each time it breaks off.
    async fn send_and_go_on(
        &mut self,
        name: &str,
        verb: &str,
        before: &[String],
        whole: Content,
        from: u64,
    ) -> io::Result<()> {
        let client = self.connect().await?;
        let pending = Pending {
            most: from,
            old: from,
            lost: false,
            reported: 0,
            sent: 0,
            interrupted: true,
            reset: false,
            whole,
        };
        let command = format!("{verb} {name}");
        let pending = self
            .send(name, client, before, &command, pending, from)
            .await;
        self.resume(name, pending).await
    }

    /// Sends a file from byte `from` on, and records it in the model. Returns what to resume if it
    /// broke off.
    async fn send(
        &mut self,
        name: &str,
        client: Client,
        before: &[String],
        command: &str,
        mut pending: Pending,
        from: u64,
    ) -> Option<Pending> {
        let size = pending.whole.size();
        let how = self.break_of();
        let to = match how {
            Break::None => size,
            _ => from + self.random.below(size - from + 1),
        };
        let bytes = pending.whole.bytes(from, to);
        let shared = name.starts_with("shared/");
        let since = match shared {
            true => 0,
            false => self.model.intend(name, Some(pending.whole.clone())),
        };
        let whole = &pending.whole;
        let at = self.at;
        let line = format!("{at}: {command} from {from} to {to} of {whole:?}, {how:?}");
        self.model.note(name, &line);
        let sent = client.upload(before, command, &bytes, how).await;
        self.model.note(name, &format!("{sent:?}"));
        self.figures.add("bytes sent", sent.bytes);
        pending.sent += sent.bytes;
        pending.most = pending.most.max(from + sent.bytes);
        pending.lost = sent.reply.is_none();
        let acknowledged = self.note(name, &pending, from, &sent, since);
        // Only its own break has affected it.
        let by_client =
            matches!(&sent.reply, Some((426, _))) || (sent.reply.is_none() && !sent.lost);
        pending.reset |= matches!(how, Break::Reset | Break::Vanish);
        pending.interrupted &= acknowledged || (how != Break::None && by_client);
        if !acknowledged {
            return Some(pending);
        }
        self.left.remove(name);
        // If only the client broke it off: how much of it was sent twice?
        if pending.interrupted && pending.reported > 0 {
            self.figures
                .resumed(pending.reset, pending.sent, size - pending.old);
        }
        None
    }

    /// What the reply to an upload means for the model. Returns whether it was acknowledged.
    fn note(&mut self, name: &str, pending: &Pending, from: u64, sent: &Sent, since: u64) -> bool {
        let whole = &pending.whole;
        let shared = name.starts_with("shared/");
        let possibly = |model: &Model| match shared {
            true => model.sent_shared(name, whole.clone(), false),
            false => model.may_become(name, Some(whole.clone())),
        };
        match &sent.reply {
            Some((226, text)) => {
                if !sent.ended {
                    self.fail(name, "226 for what was not sent whole");
                }
                if from > 0 && !text.contains(&format!(" after {from},")) {
                    self.fail(name, &format!("sent from {from} on, and taken so: {text}"));
                }
                self.figures.count("acknowledged");
                match shared {
                    true => self.model.sent_shared(name, whole.clone(), true),
                    false => self.model.set(name, vec![Some(whole.clone())], since),
                }
                return true;
            }
            Some((code, text)) => {
                if !(400..600).contains(code) {
                    self.fail(name, &format!("{code} {text}"));
                }
                self.figures.count("refused or failed");
                if sent.ended && leaves_open(text) {
                    self.figures.count("refused, and not known whether stored");
                    possibly(&self.model);
                }
            }
            None if sent.ended => {
                self.figures.count("answers lost");
                possibly(&self.model);
            }
            None => self.figures.count("broken off"),
        }
        false
    }

    /// Resumes an upload that broke off, in session after session, until it is published or lost.
    async fn resume(&mut self, name: &str, pending: Option<Pending>) -> io::Result<()> {
        let Some(mut pending) = pending else {
            return Ok(());
        };
        // Until it is published, something may be left.
        let earlier = !self.left.insert(name.to_owned());
        if earlier && pending.lost {
            return Ok(());
        }
        for _ in 0..PATIENCE {
            let Ok(mut client) = self.connect().await else {
                continue;
            };
            let Ok((code, text)) = client.command(&format!("SIZE {name}")).await else {
                continue;
            };
            self.model
                .note(name, &format!("{}: SIZE: {code} {text}", self.at));
            match code {
                213 => {}
                // Another replica is receiving it, or the store is down.
                450 | 451 | 421 => {
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    continue;
                }
                _ => {
                    self.figures.count("nothing to resume");
                    return Ok(());
                }
            }
            let reported: u64 = text.trim().parse().unwrap();
            // A client knows what it has sent; an object's length is not an offset for it.
            if self.model.may_be_object(name, reported) || reported == 0 {
                self.figures.count("nothing to resume");
                return Ok(());
            }
            if !self.fits(name, &pending, reported, earlier).await {
                return Ok(());
            }
            pending.reported = pending.reported.max(reported);
            let (before, command) = match self.random.percent(50) {
                true => (vec![format!("REST {reported}")], format!("STOR {name}")),
                false => (Vec::new(), format!("APPE {name}")),
            };
            let next = self
                .send(name, client, &before, &command, pending, reported)
                .await;
            match next {
                None => {
                    self.figures.count("resumes that went on");
                    if name.starts_with("shared/") {
                        self.figures.count("resumes of shared names");
                    }
                    return Ok(());
                }
                Some(next) => {
                    self.figures.count("resumes that broke off again");
                    pending = next;
                }
            }
        }
        Ok(())
    }

    /// Whether a length that SIZE reports is of this upload, as it must be unless an earlier one of
    /// the name may be left.
    async fn fits(&self, name: &str, pending: &Pending, reported: u64, earlier: bool) -> bool {
        // If everything may have arrived, one byte less is reported.
        let within = |least: u64| reported <= pending.most && reported + 1 >= least;
        let mut fits = within(pending.reported.max(pending.old));
        // The reported length of a running upload may be in memory only, and the store may refuse
        // it later.
        if !fits && within(pending.old) {
            fits = self.gateways.could_not_store_tail(name).await;
        }
        let others = earlier || name.starts_with("shared/");
        if !fits && !others {
            self.fail(
                name,
                &format!(
                    "SIZE reports {reported} of an upload of which {} to {} can be there",
                    pending.reported.max(pending.old),
                    pending.most
                ),
            );
        }
        fits
    }
}
