//! One client's day.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::SHARED;
use crate::client::{Break, Client, Sent};
use crate::content::{Content, Random};
use crate::figures::Figures;
use crate::gateway::Gateways;
use crate::model::Model;

const MIB: u64 = 1024 * 1024;

/// Names of each client's own.
const NAMES: u64 = 5;

/// How often an upload is tried to be gone on with before it is given up.
const PATIENCE: u32 = 12;

pub struct Worker {
    number: usize,
    random: Random,
    gateways: Arc<Gateways>,
    model: Arc<Model>,
    figures: Arc<Figures>,
    tags: u64,
    /// Names of which an upload was given up that may still be kept. A process that is killed in a fast upload leaves no
    /// trace of that, so the next length told may be the earlier one's (docs/resume.md): a careful client begins anew.
    left: BTreeSet<String>,
    /// What was done, for whoever wants to know how a failure came about.
    history: Vec<String>,
}

/// An upload that was broken off.
struct Pending {
    /// What the file is to be.
    whole: Content,
    /// The most that can be there of it.
    most: u64,
    /// Bytes that are there of the object it is appended to.
    old: u64,
    /// Whether the connection was lost, so that the gateway may have been killed.
    lost: bool,
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
            left: BTreeSet::new(),
            history: Vec::new(),
        }
    }

    pub async fn run(mut self) {
        while self.figures.next() {
            let name = format!("c{}/n{}", self.number, self.random.below(NAMES));
            // A gateway that is just being restarted is no answer; the next operation asks again.
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

    async fn connect(&mut self) -> io::Result<Client> {
        let which = self.random.below(2) as usize;
        let mut last = io::Error::other("never");
        for _ in 0..100 {
            match Client::connect(self.gateways.address(which)).await {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(last)
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
        let pending = self.send(name, "STOR", &[], whole, 0).await?;
        self.go_on(name, pending).await
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
        let whole = old.unwrap_or_default().and(tag, size);
        let pending = self.send(name, "APPE", &[], whole, from).await?;
        self.go_on(name, pending).await
    }

    async fn restart(&mut self, name: &str) -> io::Result<()> {
        let Some(Some(old)) = self.known(name).await? else {
            return Ok(());
        };
        if old.size() < 2 {
            return Ok(());
        }
        let from = 1 + self.random.below(old.size() - 1);
        let (tag, size) = (self.tag(), self.size());
        let whole = old.cut(from).and(tag, size);
        let rest = [format!("REST {from}")];
        let pending = self.send(name, "STOR", &rest, whole, from).await?;
        self.go_on(name, pending).await
    }

    /// Sends a file from byte `from` on, and tells the model. What is to be gone on with, if it broke off.
    async fn send(
        &mut self,
        name: &str,
        verb: &str,
        before: &[String],
        whole: Content,
        from: u64,
    ) -> io::Result<Option<Pending>> {
        let client = self.connect().await?;
        let size = whole.size();
        let how = self.break_of();
        let to = match how {
            Break::None => size,
            _ => from + self.random.below(size - from + 1),
        };
        let bytes = whole.bytes(from, to);
        let command = format!("{verb} {name}");
        // Should the connection end, nothing was ended as a whole file is; unless it was, which Sent tells.
        let (sent, _) = match client.upload(before, &command, &bytes, how).await {
            Ok(done) => done,
            Err(_) => {
                self.figures.count("gateway gone");
                (
                    Sent {
                        bytes: bytes.len() as u64,
                        ended: how == Break::None,
                        reply: None,
                    },
                    None,
                )
            }
        };
        Ok(self.note(name, whole, from, sent))
    }

    /// What the reply to an upload means for the model.
    fn note(&mut self, name: &str, whole: Content, from: u64, sent: Sent) -> Option<Pending> {
        self.figures.add("bytes sent", sent.bytes);
        self.history
            .push(format!("{name}: from {from} of {whole:?}: {sent:?}"));
        let most = from + sent.bytes;
        match &sent.reply {
            Some((226, _)) => {
                assert!(
                    sent.ended,
                    "226 for {name}, of which {} bytes of {} were sent",
                    sent.bytes,
                    whole.size()
                );
                self.figures.count("acknowledged");
                self.model.set(name, vec![Some(whole)]);
                self.left.remove(name);
                return None;
            }
            Some((code, text)) => {
                assert!((400..600).contains(code), "{code} {text}");
                self.figures.count("refused or failed");
                // What became of a write whose answer was lost may not have been found out.
                if sent.ended && (*code == 451 || *code == 450 || *code == 550) {
                    self.model.add(name, Some(whole.clone()));
                }
            }
            None if sent.ended => {
                self.figures.count("answers lost");
                self.model.add(name, Some(whole.clone()));
            }
            None => self.figures.count("broken off"),
        }
        Some(Pending {
            whole,
            most,
            old: from,
            lost: sent.reply.is_none(),
        })
    }

    /// Goes on with an upload that was broken off, in session after session, until it is through, or is no more.
    async fn go_on(&mut self, name: &str, pending: Option<Pending>) -> io::Result<()> {
        let Some(mut pending) = pending else {
            return Ok(());
        };
        // Until it is through, something may be left.
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
            match code {
                213 => {}
                // Another replica is at it, or the store is down.
                450 | 451 | 421 => {
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    continue;
                }
                _ => return Ok(()),
            }
            let told: u64 = text.trim().parse().unwrap();
            // A client knows what he has sent; a length that the old object has, or more than all of it, is no place to
            // go on from.
            let possible = self.model.possible(name);
            let objects = possible
                .iter()
                .flatten()
                .any(|content| content.size() == told);
            if objects || told > pending.most || told < pending.old.max(1) - 1 {
                return Ok(());
            }
            let size = pending.whole.size();
            let how = self.break_of();
            let to = match how {
                Break::None => size,
                _ => told + self.random.below(size - told + 1),
            };
            let bytes = pending.whole.bytes(told, to);
            let (before, command) = match self.random.percent(50) {
                true => (vec![format!("REST {told}")], format!("STOR {name}")),
                false => (Vec::new(), format!("APPE {name}")),
            };
            if told == 0 {
                return Ok(());
            }
            self.history
                .push(format!("{name}: goes on at {told} by {command}, {how:?}"));
            let sent = match client.upload(&before, &command, &bytes, how).await {
                Ok((sent, _)) => sent,
                Err(_) => Sent {
                    bytes: bytes.len() as u64,
                    ended: how == Break::None,
                    reply: None,
                },
            };
            match &sent.reply {
                Some((226, _)) => self.figures.count("resumes that went on"),
                _ => self.figures.count("resumes that broke off again"),
            }
            let most = pending.most;
            match self.note(name, pending.whole, told, sent) {
                None => return Ok(()),
                Some(next) => {
                    pending = Pending {
                        most: next.most.max(most),
                        old: pending.old,
                        ..next
                    }
                }
            }
        }
        Ok(())
    }

    /// What a name holds, found out where it is not known; `None` where it can't be told now.
    async fn known(&mut self, name: &str) -> io::Result<Option<Option<Content>>> {
        let mut possible = self.model.possible(name);
        if possible.len() > 1 {
            self.fetch(name).await?;
            possible = self.model.possible(name);
        }
        Ok(match possible.len() {
            1 => possible.pop(),
            _ => None,
        })
    }

    async fn fetch(&mut self, name: &str) -> io::Result<()> {
        let mut client = self.connect().await?;
        let possible = self.model.possible(name);
        let largest = possible
            .iter()
            .flatten()
            .map(Content::size)
            .max()
            .unwrap_or(0);
        let from = match self.random.percent(30) {
            true => self.random.below(largest + 1),
            false => 0,
        };
        let (bytes, (code, text)) = client.download(name, from).await?;
        self.figures.count("downloads");
        let fits: Vec<Option<Content>> = match code {
            226 => {
                let whole = |content: &&Option<Content>| {
                    let content = content.as_ref();
                    content.is_some_and(|content| {
                        content.size() == from + bytes.len() as u64 && content.holds(from, &bytes)
                    })
                };
                possible.iter().filter(whole).cloned().collect()
            }
            550 => possible
                .iter()
                .filter(|content| content.is_none())
                .cloned()
                .collect(),
            554 => return Ok(()),
            _ => {
                self.figures.count("downloads that failed");
                let begins = |content: &&Option<Content>| {
                    content
                        .as_ref()
                        .is_some_and(|content| content.holds(from, &bytes))
                };
                assert!(
                    bytes.is_empty() || possible.iter().any(|content| begins(&content)),
                    "{name}: {code} {text} after {} bytes of none of {possible:#?}",
                    bytes.len()
                );
                return Ok(());
            }
        };
        // Expired credentials look like a file that nobody may read.
        if code == 550 && !text.contains("no such file") {
            return Ok(());
        }
        if fits.is_empty() {
            let prefix = format!("{name}:");
            let history = self
                .history
                .iter()
                .filter(|line| line.contains(&prefix) || line.contains(&format!("{name} ")));
            let history: Vec<&String> = history.collect();
            panic!(
                "{name} from {from}: {code} {text}, {} bytes, none of {possible:#?}\n{history:#?}",
                bytes.len()
            );
        }
        self.model.set(name, fits);
        Ok(())
    }

    async fn rename(&mut self, name: &str) -> io::Result<()> {
        let to = format!("c{}/n{}", self.number, self.random.below(NAMES));
        let (Some(Some(content)), Some(old)) = (self.known(name).await?, self.known(&to).await?)
        else {
            return Ok(());
        };
        if *name == to {
            return Ok(());
        }
        let mut client = self.connect().await?;
        if client.command(&format!("RNFR {name}")).await?.0 != 350 {
            return Ok(());
        }
        let reply = client.command(&format!("RNTO {to}")).await;
        self.history
            .push(format!("rename {name} to {to} : {reply:?}"));
        if let Ok((250, _)) = reply {
            self.figures.count("renames");
            self.model.set(name, vec![None]);
            self.model.set(&to, vec![Some(content)]);
        } else {
            self.figures.count("renames that failed");
            self.model.add(name, None);
            self.model.set(&to, vec![old, Some(content)]);
        }
        Ok(())
    }

    async fn delete(&mut self, name: &str) -> io::Result<()> {
        let mut client = self.connect().await?;
        match client.command(&format!("DELE {name}")).await {
            Ok((250, text)) if text.contains("kept") => {}
            Ok((250, _)) => {
                self.figures.count("deletes");
                self.model.set(name, vec![None]);
            }
            _ => self.model.add(name, None),
        }
        Ok(())
    }

    /// A name that others write, too. Nobody goes on with it: what is there may be another's.
    async fn store_shared(&mut self) -> io::Result<()> {
        let name = format!("shared/s{}", self.random.below(SHARED as u64));
        let (tag, size) = (self.tag(), self.size());
        let whole = Content::new(tag, size);
        let client = self.connect().await?;
        let bytes = whole.bytes(0, size);
        let sent = client
            .upload(&[], &format!("STOR {name}"), &bytes, Break::None)
            .await;
        let code = match &sent {
            Ok((sent, _)) if !sent.ended => return Ok(()),
            Ok((sent, _)) => sent.reply.as_ref().map(|reply| reply.0),
            Err(_) => None,
        };
        self.figures.count(match code {
            Some(226) => "acknowledged",
            Some(_) => "refused or failed",
            None => "answers lost",
        });
        self.model.sent_shared(&name, whole, code == Some(226));
        Ok(())
    }
}
